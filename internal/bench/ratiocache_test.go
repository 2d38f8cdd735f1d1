package main

import "testing"

// TestCachesHaveTheSameRoom stores twice as many entries as there is room for, and
// counts those that are there.
func TestCachesHaveTheSameRoom(t *testing.T) {
	const room = 8192
	for _, who := range append([]string{"ember"}, ratioPeers...) {
		t.Run(who, func(t *testing.T) {
			c, err := newRatioCache(who, room, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for key := range uint32(2 * room) {
				c.Access(key)
			}
			got, set := 0, c.set
			c.set = func(_, _ []byte) {}
			for key := range uint32(2 * room) {
				if c.Access(key) {
					got++
				}
			}
			c.set = set
			if got < room*9/10 || got > room*21/20 || c.wrong > 0 {
				t.Errorf("%d entries, %d wrong, want about %d", got, c.wrong, room)
			}
			if err := c.close(); err != nil {
				t.Error(err)
			}
		})
	}
}
