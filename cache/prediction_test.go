//go:build unix

package cache

import (
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	predictionFlag  = flag.Bool("prediction", false, "compare Stats.PredictedRecovery with starts after kills; wants a quiet machine")
	predictionOpens = flag.Int("prediction.opens", 9, "starts of each case")
)

const (
	predictionEnv     = "EMBER_TEST_PREDICTION" // makes this executable a child
	predictionKeySize = 24
	predictionValue   = 256
)

// A predictionCase is what a process leaves when it is killed: so many entries of
// 24+256 bytes in an image, Sets in blobs since, Sets in links since.
type predictionCase struct{ mib, entries, light, linked int }

var predictionCases = []predictionCase{
	{64, 100_000, 0, 0},
	{64, 100_000, 0, 20_000},
	{256, 450_000, 300_000, 0},
	{256, 450_000, 0, 100_000},
	{256, 450_000, 200_000, 50_000},
	{1024, 1_800_000, 0, 0},
	{1024, 1_800_000, 1_000_000, 0},
	{1024, 1_800_000, 0, 250_000},
	{1024, 1_800_000, 600_000, 100_000},
}

func (p *predictionCase) options() *Options {
	o := testOptions(int64(p.mib) << 20)
	o.Durability.Interval = -1
	o.Recovery.Budget = time.Minute // nothing but the case says what is written
	return o
}

func predictionKey(i int) []byte {
	key := make([]byte, predictionKeySize)
	binary.LittleEndian.PutUint64(key, uint64(i))
	binary.LittleEndian.PutUint64(key[8:], uint64(i)*0x9e3779b97f4a7c15)
	return key
}

// leave makes what the case says in dir, prints the prediction, and is killed.
func (p *predictionCase) leave(t *testing.T, dir string) {
	value := make([]byte, predictionValue)
	c := open(t, dir, p.options())
	for i := range p.entries {
		mustSet(t, c, predictionKey(i), value)
		if i%300_000 == 299_999 {
			mustFlush(t, c)
		}
	}
	mustClose(t, c) // with an image
	c = open(t, dir, p.options())
	if _, err := c.WaitVerified(context.Background()); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewSource(*seedFlag))
	for i := range p.light {
		mustSet(t, c, predictionKey(rng.Intn(p.entries)), value)
		if i%100_000 == 99_999 {
			mustFlush(t, c)
		}
	}
	mustSet(t, c, predictionKey(0), value)
	mustFlush(t, c)
	for i := range p.linked {
		mustSet(t, c, predictionKey(rng.Intn(p.entries)), value)
		if i%1000 == 999 {
			time.Sleep(time.Millisecond) // as many links as a second has
		}
	}
	for before := uint64(math.MaxUint64); p.linked > 0 && before != c.Stats().WeakGenerations; {
		before = c.Stats().WeakGenerations
		time.Sleep(100 * time.Millisecond) // the last link
	}
	if err := c.Health(); err != nil {
		t.Fatal(err)
	}
	fmt.Println(int64(c.Stats().PredictedRecovery))
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// start prints how long it takes until the first Get has returned, and is killed.
func (p *predictionCase) start(t *testing.T, dir string) {
	key := predictionKey(p.entries / 2)
	began := time.Now()
	c := open(t, dir, p.options())
	if _, ok := c.Get(key); !ok {
		t.Fatal("the entry is gone")
	}
	fmt.Println(int64(time.Since(began)))
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// child runs a part of a case in a process of its own and returns what it printed.
func (p *predictionCase) child(t *testing.T, part, dir string) (d time.Duration) {
	t.Helper()
	env := fmt.Sprintf("%s=%s %d %d %d %d %s", predictionEnv, part, p.mib, p.entries, p.light, p.linked, dir)
	cmd, out, end := startChild(t, "TestPredictedRecovery", env)
	line, err := out.ReadString('\n')
	if _, scan := fmt.Sscan(line, &d); err != nil || scan != nil {
		t.Fatalf("%s: the child said %q, %v", part, line, cmp.Or(err, scan))
	}
	end()
	_ = cmd.Wait()
	return d
}

// TestPredictedRecovery holds the prediction to a quarter of what a start after a
// kill takes, with the files in the page cache. Where that is little, to 2 ms: a
// process that begins varies by that much.
func TestPredictedRecovery(t *testing.T) {
	if text, ok := os.LookupEnv(predictionEnv); ok {
		var p predictionCase
		var part, dir string
		if _, err := fmt.Sscan(text, &part, &p.mib, &p.entries, &p.light, &p.linked, &dir); err != nil {
			t.Fatal(err)
		}
		map[string]func(*testing.T, string){"leave": p.leave, "start": p.start}[part](t, dir)
		return
	}
	if !*predictionFlag || racing {
		t.Skip("a measurement: -prediction")
	}
	root := t.TempDir()
	if strings.Contains(root, " ") {
		t.Skip("the folder's name has a space")
	}
	for i, p := range predictionCases {
		dir := filepath.Join(root, fmt.Sprint(i))
		predicted := p.child(t, "leave", dir)
		var took []time.Duration
		for range *predictionOpens {
			took = append(took, p.child(t, "start", dir))
		}
		slices.Sort(took)
		median := took[len(took)/2]
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		t.Logf("%4d MiB, %7d entries, %7d Sets in blobs, %6d in links: predicted %6.2f ms, took %6.2f (%.2f to %.2f), ratio %.2f",
			p.mib, p.entries, p.light, p.linked, ms(predicted), ms(median), ms(took[0]), ms(took[len(took)-1]), ms(predicted)/ms(median))
		if off := (predicted - median).Abs(); off > max(median/4, 2*time.Millisecond) {
			t.Errorf("case %+v: predicted %v, it took %v", p, predicted, median)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}
