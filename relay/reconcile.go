package relay

import "context"

// Found is what a reconciling question brought to light.
type Found struct {
	Late         bool // a success after another outcome had been reported
	Missed       bool // a change that live realtime should have told
	Mismatched   bool
	Contradicted bool
}

// Reconcile asks Dollr about a payment in a sweep, and tells what everything else had missed.
func (r *Relay) Reconcile(ctx context.Context, id string) (Found, error) {
	before, err := r.store.Find(ctx, id)
	if err != nil {
		return Found{}, err
	}
	deaf := r.deaf(id)
	after, _, err := r.asker.Ask(ctx, Question{Payment: before.slim(), Via: ViaReconcile, Urgency: UrgentOld})
	if err != nil {
		return Found{}, err
	}
	changed := after.Version > before.Version
	return Found{
		Late: changed && after.Late && !before.Late, Missed: changed && deaf,
		Mismatched:   changed && after.Outcome == Mismatch && before.Outcome != Mismatch,
		Contradicted: after.Contradicted && !before.Contradicted,
	}, nil
}
