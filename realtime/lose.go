package realtime

import "time"

// loseJoin is lose for a join that was refused or never answered: the next try is kept apart from healthy channels, because
// the server holds a whole socket back behind a failing join (§3.4).
func (s *stepper) loseJoin(l *leg, c class, word, detail string) {
	if l == &s.main {
		s.joinFailed = true
	}
	s.lose(l, c, word, detail)
}

// lose ends a leg that is gone on the server's side, or was left, and decides when and how to come back.
func (s *stepper) lose(l *leg, c class, word, detail string) {
	s.do(doRejoin{word, detail})
	switch c {
	case limited:
		s.do(doSlow{})
	case perSocket:
		s.do(doShard{l.socket})
	case transient, credential, refused:
	}
	if l == &s.spare {
		s.loseSpare(c)
		return
	}
	lostLeg := s.main
	s.steady()
	s.main, s.spareAt = leg{}, time.Time{}
	if s.spare.phase != off {
		s.main, s.spare = s.spare, leg{}
		if s.main.phase < live {
			s.lost(word)
		}
		return
	}
	var wait time.Duration
	s.joinFail, wait = s.joinFail.fail(s.random())
	switch c {
	case credential:
		s.key = heldKey{}
		switch {
		case s.passed(lostLeg.matureAt): // it was its time
			s.refusals, wait = 0, 0
		default:
			s.refusals++
			wait = s.pauseAfterRefusal(0)
		}
	case refused:
		s.key = heldKey{}
		wait = s.pause()
	case transient, limited, perSocket:
	}
	s.retryAt = s.now.Add(wait)
	s.lost(word)
}

// loseSpare keeps the main leg, which may still hear, and tries another spare later.
func (s *stepper) loseSpare(c class) {
	s.spare = leg{}
	var wait time.Duration
	s.joinFail, wait = s.joinFail.fail(s.random())
	switch c {
	case credential, refused:
		s.key = heldKey{} // a new key is minted at once, and pushed, which is another chance for the main leg
		s.mintAt = s.now.Add(wait)
		s.spareAt = s.now.Add(s.pause())
	case transient, limited, perSocket:
		s.spareAt = s.now.Add(wait)
	}
}

// steady ends the time for which main was live; if it was long enough, earlier failures are forgotten.
func (s *stepper) steady() {
	if !s.liveSince.IsZero() && s.now.Sub(s.liveSince) >= stableAfter {
		s.joinFail, s.refusals = backoff{}, 0
	}
	s.liveSince = time.Time{}
}

// lost reports that the channel is not live, once.
func (s *stepper) lost(word string) {
	if s.reported != Lost {
		s.reported = Lost
		s.do(doNotify{kind: Lost, reason: word})
	}
}

// pauseAfterRefusal allows one more key at once, then takes the long way: no loop of mints and joins.
func (s *stepper) pauseAfterRefusal(first time.Duration) time.Duration {
	if s.refusals <= 1 {
		return first
	}
	return s.pause()
}

// pause is 5 to 6 min.
func (s *stepper) pause() time.Duration {
	return refusedPause + time.Duration(s.random()*float64(time.Minute))
}
