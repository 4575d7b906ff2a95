package realtimetest

import "strings"

// roster is a socket's joined channels by topic. Those that ask for the rows of one UUID can be found by it: comparing every
// change with the filters of thousands of channels would take longer than everything that a client does about it.
type roster struct {
	byTopic map[string]*channel
	byUUID  map[string]map[*channel]bool
	others  map[*channel]bool
}

func newRoster() roster {
	return roster{byTopic: map[string]*channel{}, byUUID: map[string]map[*channel]bool{}, others: map[*channel]bool{}}
}

func (r roster) add(ch *channel) {
	r.remove(r.byTopic[ch.topic])
	r.byTopic[ch.topic] = ch
	id := ch.onlyUUID()
	if id == "" {
		r.others[ch] = true
		return
	}
	if r.byUUID[id] == nil {
		r.byUUID[id] = map[*channel]bool{}
	}
	r.byUUID[id][ch] = true
}

// remove takes nil for no channel.
func (r roster) remove(ch *channel) {
	if ch == nil || r.byTopic[ch.topic] != ch {
		return
	}
	delete(r.byTopic, ch.topic)
	delete(r.others, ch)
	id := ch.onlyUUID()
	if delete(r.byUUID[id], ch); len(r.byUUID[id]) == 0 {
		delete(r.byUUID, id)
	}
}

// candidates are all channels that may want a change, and few others.
func (r roster) candidates(c Change) []*channel {
	var all []*channel
	if c.toEveryone() {
		for _, ch := range r.byTopic {
			all = append(all, ch)
		}
		return all
	}
	for ch := range r.others {
		all = append(all, ch)
	}
	for _, column := range c.row() {
		if id, ok := column.(string); ok && looksLikeUUID(id) {
			for ch := range r.byUUID[strings.ToLower(id)] {
				all = append(all, ch)
			}
		}
	}
	return all
}

// onlyUUID is the one that a row must have for all of the channel's bindings, in lower case; empty if there is none.
func (ch *channel) onlyUUID() string {
	if len(ch.bindings) != 1 || len(ch.bindings[0].filters) != 1 {
		return ""
	}
	f := ch.bindings[0].filters[0]
	if f.op != "eq" || f.not || !looksLikeUUID(f.values[0]) {
		return ""
	}
	return strings.ToLower(f.values[0])
}
