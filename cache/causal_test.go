package cache

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

var causalCuts = flag.Int("causalcuts", 0, "cuts of the causal test; 0: as many as suit every test run")

// A causality is goroutines each of whose writes follows from what it has seen,
// on a cache of two shards, and the relations that this leaves in every cut.
//
//	links    link i is the value seen in link i-1, plus one; each on the other
//	         shard than the one before: link i is never more than one ahead
//	echoes   echo i is a value seen in link i: never ahead of it
//	doomed   set to n, then deleted, then the obituary on the other shard says n:
//	         where it says n, what stands is over n
//	twins    written in one batch, one on each shard: always the same
type causality struct {
	c       *Cache
	tokens  atomic.Int64 // writes that may still be done before the next cut
	stop    atomic.Bool
	group   sync.WaitGroup
	link    [causalWriters][]byte
	echo    [causalWriters][]byte
	doomed  [causalWriters][]byte
	obit    [causalWriters][]byte
	twins   [2][]byte
	written atomic.Int64
}

const (
	causalWriters = 4
	causalTokens  = 120 // writes a cut
)

func newCausality(c *Cache) *causality {
	k := &causality{c: c}
	for i := range causalWriters {
		k.link[i] = keyOn(c, "link", i, i%2)
		k.echo[i] = keyOn(c, "echo", i, (i+1)%2)
		k.doomed[i] = keyOn(c, "doomed", i, i%2)
		k.obit[i] = keyOn(c, "obituary", i, (i+1)%2)
	}
	k.twins = [2][]byte{keyOn(c, "twin", 0, 0), keyOn(c, "twin", 1, 1)}
	return k
}

// keyOn finds a key that lies on that shard.
func keyOn(c *Cache, name string, i, shard int) []byte {
	for n := 0; ; n++ {
		key := fmt.Appendf(nil, "%s-%d-%d", name, i, n)
		if c.shardOf(c.hash.sum(key)).id == shard {
			return key
		}
	}
}

// get returns a counter, 0 if it is not there.
func (k *causality) get(c *Cache, key []byte) uint64 {
	v, ok := c.Get(key)
	if !ok {
		return 0
	}
	return binary.LittleEndian.Uint64(v)
}

func (k *causality) set(key []byte, n uint64) {
	v := make([]byte, 8+n%64)
	binary.LittleEndian.PutUint64(v, n)
	_ = k.c.Set(key, v)
	k.written.Add(1)
}

// loop calls do for as long as there are tokens, and waits for more.
func (k *causality) loop(do func()) {
	k.group.Add(1)
	go func() {
		defer k.group.Done()
		for !k.stop.Load() {
			if k.tokens.Add(-1) < 0 {
				k.tokens.Add(1)
				runtime.Gosched()
				continue
			}
			do()
		}
	}()
}

func (k *causality) start() {
	for i := range causalWriters {
		before, grave := k.link[(i+causalWriters-1)%causalWriters], uint64(0)
		k.loop(func() {
			k.set(k.link[i], k.get(k.c, before)+1)
			grave++
			k.set(k.doomed[i], grave)
			k.c.Delete(k.doomed[i])
			k.set(k.obit[i], grave)
		})
		k.loop(func() { k.set(k.echo[i], k.get(k.c, k.link[i])) })
	}
	twin := uint64(0)
	k.loop(func() {
		twin++
		v := binary.LittleEndian.AppendUint64(nil, twin)
		_ = k.c.Batch([]BatchOp{{Key: k.twins[0], Value: v}, {Key: k.twins[1], Value: v}})
	})
}

// check names what is there without its cause.
func (k *causality) check(c *Cache) error {
	for i := range causalWriters {
		at, before := k.get(c, k.link[i]), k.get(c, k.link[(i+causalWriters-1)%causalWriters])
		if at > before+1 {
			return fmt.Errorf("link %d is %d, the one before it %d", i, at, before)
		}
		if echo := k.get(c, k.echo[i]); echo > at {
			return fmt.Errorf("echo %d is %d, what it saw %d", i, echo, at)
		}
		alive, dead := k.get(c, k.doomed[i]), k.get(c, k.obit[i])
		if alive != 0 && alive != dead+1 {
			return fmt.Errorf("number %d of doomed %d stands, the obituary says %d", alive, i, dead)
		}
	}
	if a, b := k.get(c, k.twins[0]), k.get(c, k.twins[1]); a != b {
		return fmt.Errorf("a batch set twins to %d and %d", a, b)
	}
	return nil
}

// reload opens what a crash left and checks it.
func (k *causality) reload(t *testing.T, fs *crashfs.FS, what string) {
	t.Helper()
	c := openOn(t, quietOptions(fs, 2))
	defer drop(c)
	if err := k.check(c); err != nil {
		t.Fatalf("%s: %v\nreport %+v", what, err, c.Recovery())
	}
}

// TestNoEffectWithoutItsCause takes cuts, weak and durable ones at the same time,
// while goroutines carry causes from shard to shard.
func TestNoEffectWithoutItsCause(t *testing.T) {
	rng := newRand(t)
	cuts := *causalCuts
	if cuts == 0 {
		cuts = 2000
		if racing || testing.Short() {
			cuts = 300
		}
	}
	fs := crashfs.New()
	c := openOn(t, quietOptions(fs, 2))
	mustFlush(t, c)
	k := newCausality(c)
	k.start()
	flush := make(chan struct{}, 1)
	var flushes sync.WaitGroup
	flushes.Go(func() {
		for range flush {
			if _, err := c.Flush(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	pauses := 0
	for n := 1; n <= cuts && !t.Failed(); n++ {
		k.tokens.Store(causalTokens)
		for k.tokens.Load() > causalTokens/2 {
			runtime.Gosched()
		}
		if err := c.persist.dumper.Weak(); err != nil {
			mustFlush(t, c) // the ring was full: the chain begins again
			pauses++
		}
		if n%20 == 0 {
			select {
			case flush <- struct{}{}:
			default:
			}
		}
		if n%50 == 0 {
			k.reload(t, fs.Clone(), fmt.Sprintf("killed after cut %d", n))
		}
	}
	k.stop.Store(true)
	k.group.Wait()
	close(flush)
	flushes.Wait()
	written := c.Stats()
	drop(c)
	k.reloadPrefixes(t, rng, fs, cuts/10)
	t.Logf("%d weak and %d durable generations, %d writes, %d pauses", written.WeakGenerations, written.Flushes, k.written.Load(), pauses)
}

// reloadPrefixes opens what some prefixes of the operations left.
func (k *causality) reloadPrefixes(t *testing.T, rng *rand.Rand, fs *crashfs.FS, count int) {
	for i := range count {
		n := rng.Intn(fs.Ops() + 1)
		if i%2 == 0 {
			k.reload(t, fs.Kill(n), fmt.Sprintf("killed after operation %d", n))
		} else {
			cut := crashfs.Cut{Seed: rng.Uint64()}
			k.reload(t, fs.Crash(n, cut), fmt.Sprintf("power cut after operation %d, %+v", n, cut))
		}
		if i%64 == 0 {
			runtime.GC() // address space
		}
	}
}
