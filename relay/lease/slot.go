package lease

import "sync"

// letters are those of the base 32 in which ids are written.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

// slotFrom and slotTo cut the slot out of an id: pay_xx….
const slotFrom, slotTo = 4, 6

// SlotOf is the slot of a payment, by its id. The store cuts it out in the same way.
func SlotOf(id string) string {
	if len(id) < slotTo {
		return ""
	}
	return id[slotFrom:slotTo]
}

// Slots lists all slots, in order. It is the same list each time: never change it.
func Slots() []string { return everySlot() }

var everySlot = sync.OnceValue(func() []string { //nolint:gochecknoglobals // always the same value
	all := make([]string, 0, len(letters)*len(letters))
	for _, first := range letters {
		for _, second := range letters {
			all = append(all, string(first)+string(second))
		}
	}
	return all
})
