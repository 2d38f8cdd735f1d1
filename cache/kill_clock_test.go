//go:build unix

package cache

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"time"
)

// The clocks of the processes that TestKilledProcess kills, and what lives for a
// time only.

const killTimed = 64 // keys with a time to live: a life does not overwrite all of them

// killClocks are the wall clocks of a directory's lives.
type killClocks struct {
	last, most           time.Duration // offsets
	back, forward, jumps int           // how often
}

// set draws the clock of the next life: in half of them it is another one.
func (k *killClocks) set(rng *rand.Rand, plan *killPlan) {
	if rng.Intn(2) == 0 {
		k.last += []time.Duration{-240 * time.Hour, -time.Hour, -time.Second, time.Second, time.Hour, 240 * time.Hour}[rng.Intn(6)]
	}
	if plan.Offset = k.last; rng.Intn(4) == 0 {
		plan.Jump = time.Duration(1+rng.Intn(3)) * time.Minute
		k.jumps++
	}
	before := k.most
	if plan.Straight = k.last >= before; k.last > before {
		k.forward++
	} else if k.last < before {
		k.back++
	}
	k.last += plan.Jump
	k.most = max(before, k.last)
}

// clock is the child's wall clock.
func (k *killChild) clock() time.Time {
	return time.Now().Add(k.plan.Offset + time.Duration(k.jump.Load()))
}

// timed stores something for a moment, and reads all such.
func (k *killChild) timed() {
	if time.Since(k.start) > 40*time.Millisecond {
		k.jump.Store(int64(k.plan.Jump))
	}
	rng := rand.New(rand.NewSource(time.Now().UnixNano()))
	ttl := time.Duration(10+rng.Intn(150)) * time.Millisecond
	key := killTimedKey(rng.Intn(killTimed))
	straight := uint64(0)
	if k.plan.Straight {
		straight = 1
	}
	// The times are taken before: they are not later than the cache's.
	var v []byte
	for _, n := range []uint64{straight, uint64(ttl), uint64(k.clock().UnixNano()), uint64(time.Now().UnixNano())} {
		v = binary.LittleEndian.AppendUint64(v, n)
	}
	began := time.Now()
	if err := k.c.SetWithTTL(key, v, ttl); err != nil {
		k.fatal("write", err)
	}
	k.late.Store(max(k.late.Load(), int64(time.Since(began))))
	k.readTimed()
}

func killTimedKey(i int) []byte { return fmt.Appendf(nil, "timed-%d", i) }

// readTimed reads what was stored for a moment. What has expired is not there: by
// the wall clock, where that was never ahead of the one it was stored under, and
// by the time since Open, whatever wall clocks did.
func (k *killChild) readTimed() (found int) {
	k.expired = 0
	for i := range killTimed {
		wall, now := k.clock(), time.Now()
		v, ok := k.c.Get(killTimedKey(i))
		if !ok {
			k.expired++
			continue
		}
		found++
		word := func(i int) uint64 { return binary.LittleEndian.Uint64(v[i*8:]) }
		ttl, since := time.Duration(word(1)), time.Unix(0, int64(word(3)))
		slack := 2*time.Millisecond + time.Duration(k.late.Load()) // a Set that took long began to count late
		byWall := slack
		if k.opened.After(since) {
			since = k.opened
			byWall += killLoss // how long that Set took nobody has told
		}
		if age := wall.Sub(time.Unix(0, int64(word(2)))); word(0) == 1 && age > ttl+byWall {
			k.fatal("expired", fmt.Errorf("stored for %v, served after %v by the wall clock", ttl, age))
		}
		if age := now.Sub(since); age > ttl+slack {
			k.fatal("expired", fmt.Errorf("stored for %v, served after %v", ttl, age))
		}
	}
	return found
}
