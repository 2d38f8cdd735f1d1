package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// A program of byte commands runs on a cache and on a plain map. While less than
// half of MaxBytes is live, the two are equal; beyond, or over a bad hash, the
// cache may have forgotten, and nothing else.

// A modelEntry is what the map knows of a key.
type modelEntry struct {
	value      []byte
	stored     time.Time
	expires    time.Time // zero: never
	memoryOnly bool
}

func (e *modelEntry) live(now time.Time) bool { return e.expires.IsZero() || now.Before(e.expires) }

type model map[string]modelEntry

// A machine runs one program.
type machine struct {
	t       testing.TB
	c       *Cache
	o       *Options
	fs      *crashfs.FS  // nil: OpenMemory
	passed  atomic.Int64 // of the clock, since machineStart
	strict  bool         // nothing live may be missing
	version int
	have    model
	cuts    []model // at the last durable cut and, after it, each link
	older   []model // at durable cuts before
	hurt    bool    // files were damaged
	code    []byte
	trace   []string
}

var machineStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (m *machine) now() time.Time { return machineStart.Add(time.Duration(m.passed.Load())) }

func (m *machine) fail(format string, args ...any) {
	m.t.Helper()
	last := m.trace[max(0, len(m.trace)-40):]
	m.t.Fatalf("%s\nafter %d commands, the last: %v", fmt.Sprintf(format, args...), len(m.trace), last)
}

func (m *machine) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *machine) next() int {
	if len(m.code) == 0 {
		return 0
	}
	b := m.code[0]
	m.code = m.code[1:]
	return int(b)
}

var badHashes = map[string]func([]byte) uint64{
	"good":     nil,
	"constant": func([]byte) uint64 { return 0x0123456789abcdef },
	"zero":     func([]byte) uint64 { return 0 },
	"truncated": func(key []byte) uint64 {
		h := fnv.New64a()
		h.Write(key)
		return h.Sum64() & 0x8000_0001_0000_0003
	},
	"tag only": func(key []byte) uint64 {
		h := fnv.New64a()
		h.Write(key)
		return h.Sum64() & (1<<tagBits - 1)
	},
}

// runProgram takes the first byte as the configuration and the rest as commands.
func runProgram(t testing.TB, program []byte, hash string) {
	m := &machine{t: t, code: program, have: model{}, cuts: []model{{}}}
	config := m.next()
	m.o = testOptions(1 << 20)
	if config&4 != 0 {
		m.o.MaxBytes, m.o.Shards = 2<<20, 2
	}
	m.o.Durability.Interval = -1
	m.o.Durability.Weak = time.Hour // only when the program says so
	m.o.Recovery.Positional = config&8 != 0
	m.o.Clock = m.now
	m.o.Freshness = Freshness{Jitter: -1, NegativeTTL: 50 * time.Millisecond}
	m.o.hooks.hash, m.o.hooks.seed, m.o.hooks.step = badHashes[hash], 7, true
	m.strict = config&1 == 0 && hash == "good"
	if config&2 == 0 {
		m.fs = crashfs.New()
		m.o.hooks.fs = m.fs
	}
	m.open()
	for len(m.code) > 0 {
		m.step()
	}
	m.finish()
}

func (m *machine) open() {
	var err error
	if m.fs == nil {
		m.c, err = OpenMemory(m.o)
	} else {
		m.c, err = Open(context.Background(), "/cache", m.o)
	}
	if err != nil {
		m.fail("open: %v", err)
	}
}

func (m *machine) finish() {
	m.note("finish")
	if _, err := m.c.WaitVerified(context.Background()); err != nil {
		m.fail("verify: %v", err)
	}
	m.getMany()
	m.all()
	if m.fs != nil {
		m.flush()
	}
	checkInvariants(m.t, m.c)
	if m.t.Failed() {
		m.fail("invariants")
	}
	m.reopen()
	m.getMany()
	if err := m.c.Close(); err != nil {
		m.fail("close: %v", err)
	}
}

func (m *machine) step() {
	switch op := m.next() % 40; op {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		m.set(m.key(), m.size(), EntryOptions{})
	case 8, 9:
		m.set(m.key(), m.size(), EntryOptions{TTL: time.Duration(m.next()) * time.Millisecond})
	case 10:
		m.set(m.key(), m.size(), EntryOptions{MemoryOnly: true})
	case 11, 12:
		m.set(m.key(), 7000+m.next()*113, EntryOptions{MemoryOnly: op == 12 && m.next()%3 == 0})
	case 13, 14, 15, 16:
		m.delete(m.key())
	case 17:
		m.get(m.key())
	case 18:
		m.load(m.key())
	case 19:
		m.view(m.key())
	case 20, 21:
		m.info(m.key())
	case 22:
		m.getMany()
	case 23, 24:
		m.batch(1 + m.next()%6)
	case 25:
		m.clear(m.next())
	case 26, 27:
		m.advance(m.next())
	case 28, 29:
		m.compute(m.key(), m.next())
	case 30:
		m.ifAbsent(m.key(), m.size())
	case 31:
		m.ifStamp(m.key(), m.size())
	case 32:
		m.all()
	default:
		m.save(op)
	}
}

func (m *machine) save(op int) {
	if m.fs == nil {
		return
	}
	switch op {
	case 33, 34:
		m.flush()
	case 35:
		m.weak()
	case 36:
		m.reopen()
	case 37:
		m.kill()
	case 38:
		m.powerCut(uint64(m.next()))
	case 39:
		m.damage(m.next())
	}
}

// key is one of 200, of 2 to some 1000 bytes.
func (m *machine) key() []byte {
	n := m.next() % 200
	key := fmt.Appendf(nil, "k%d", n)
	if n%7 == 0 {
		key = append(key, bytes.Repeat([]byte("-"), n*5)...)
	}
	return key
}

func (m *machine) size() int {
	n := m.next()
	switch {
	case n < 16:
		return n
	case n < 200:
		return n * 3
	default:
		return (n - 190) * 80
	}
}

// modelValue fills n bytes that no other version shares.
func modelValue(version, n int) []byte {
	v := make([]byte, n)
	rand.New(rand.NewSource(int64(version))).Read(v)
	return v
}

func (m *machine) set(key []byte, n int, o EntryOptions) {
	if m.strict && m.c.Bytes()+int64(n+len(key))+64<<10 > m.o.MaxBytes/2 {
		m.delete(key)
		return
	}
	m.version++
	value := modelValue(m.version, n)
	m.note("set %.8s %d bytes v%d %+v", key, n, m.version, o)
	if err := m.c.SetEntry(key, value, o); err != nil {
		m.fail("set %q: %v", key, err)
	}
	m.have[string(key)] = m.entry(value, o)
	m.get(key)
}

func (m *machine) entry(value []byte, o EntryOptions) modelEntry {
	e := modelEntry{value: value, stored: m.now(), memoryOnly: o.MemoryOnly}
	if o.TTL > 0 {
		e.expires = m.now().Add(o.TTL)
	}
	return e
}

func (m *machine) delete(key []byte) {
	m.note("delete %.8s", key)
	e, want := m.have[string(key)]
	want = want && e.live(m.now())
	if got := m.c.Delete(key); got && !want || m.strict && got != want {
		m.fail("delete %q: got %v, want %v", key, got, want)
	}
	delete(m.have, string(key))
	if m.c.Has(key) {
		m.fail("deleted key %q is there", key)
	}
}

// check compares what the cache says of a key with the map.
func (m *machine) check(key, value []byte, ok bool) {
	m.t.Helper()
	e, there := m.have[string(key)]
	there = there && e.live(m.now())
	switch {
	case ok && !there:
		m.fail("key %.8q: %d bytes, want none", key, len(value))
	case ok && !bytes.Equal(value, e.value):
		m.fail("key %.8q: wrong value of %d bytes, want %d", key, len(value), len(e.value))
	case !ok && there && m.strict:
		m.fail("key %.8q of %d bytes is missing, %d live", key, len(e.value), m.c.Bytes())
	case !ok:
		delete(m.have, string(key))
	}
}

func (m *machine) get(key []byte) {
	m.note("get %.8s", key)
	value, ok := m.c.Get(key)
	m.check(key, value, ok)
	if value, ok = m.c.AppendGet([]byte("before"), key); !bytes.HasPrefix(value, []byte("before")) {
		m.fail("AppendGet changed what it appends to")
	}
	m.check(key, value[6:], ok)
}

// load gets a key, or loads a new value, or that there is none.
func (m *machine) load(key []byte) {
	m.note("load %.8s", key)
	loaded := false
	m.version++
	value, err := m.c.GetOrLoad(context.Background(), key, func(context.Context) ([]byte, error) {
		loaded = true
		if m.version%2 == 0 {
			return nil, ErrNotFound
		}
		return modelValue(m.version, 100), nil
	})
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		m.fail("load %.8q: %v", key, err)
	case !loaded || err != nil:
		m.check(key, value, err == nil)
	default:
		m.check(key, nil, false)
		m.have[string(key)] = m.entry(value, EntryOptions{})
	}
	m.get(key)
}

func (m *machine) view(key []byte) {
	m.note("view %.8s", key)
	var value []byte
	err := m.c.View(key, func(v []byte) error {
		value = bytes.Clone(v)
		return nil
	})
	m.check(key, value, err == nil)
}

func (m *machine) info(key []byte) {
	m.note("info %.8s", key)
	info, ok := m.c.Info(key)
	e, there := m.have[string(key)]
	if has := m.c.Has(key); has != ok {
		m.fail("Has says %v, Info %v", has, ok)
	}
	if !ok {
		m.check(key, nil, false)
		return
	}
	if !there || !e.live(m.now()) || info.Size != len(key)+len(e.value) || !info.Expires.Equal(e.expires) || !info.Stored.Equal(e.stored) {
		m.fail("Info of %.8q: %+v, want %v to %v of %d bytes", key, info, e.stored, e.expires, len(key)+len(e.value))
	}
}

// getMany reads everything that the map knows, and a key that it does not.
func (m *machine) getMany() {
	m.note("getMany of %d", len(m.have))
	keys := [][]byte{[]byte("nobody")}
	for _, key := range slices.Sorted(maps.Keys(m.have)) {
		keys = append(keys, []byte(key))
	}
	all, ends := m.c.GetMany(nil, nil, keys)
	from := 0
	for i, end := range ends {
		if end < 0 {
			m.check(keys[i], nil, false)
			continue
		}
		m.check(keys[i], all[from:end], true)
		from = end
	}
}

func (m *machine) batch(n int) {
	var ops []BatchOp
	entries := model{}
	for range n {
		key := m.key()
		if m.next()%3 == 0 || m.strict && m.c.Bytes()+100<<10 > m.o.MaxBytes/2 {
			ops = append(ops, BatchOp{Key: key})
			delete(entries, string(key))
			continue
		}
		m.version++
		op := BatchOp{Key: key, Value: modelValue(m.version, m.size()/4), TTL: time.Duration(m.next()/128) * time.Second}
		ops = append(ops, op)
		entries[string(key)] = m.entry(op.Value, EntryOptions{TTL: op.TTL})
	}
	m.note("batch of %d", n)
	if err := m.c.Batch(ops); err != nil {
		m.fail("batch: %v", err)
	}
	for _, op := range ops {
		delete(m.have, string(op.Key))
	}
	maps.Copy(m.have, entries)
	for _, op := range ops {
		m.get(op.Key)
	}
}

// clear is rarer than its command.
func (m *machine) clear(dice int) {
	if dice%4 != 0 {
		return
	}
	m.note("clear")
	if err := m.c.Clear(); err != nil {
		m.fail("clear: %v", err)
	}
	if m.c.Len() != 0 || m.c.Bytes() != 0 {
		m.fail("after Clear: %d entries of %d bytes", m.c.Len(), m.c.Bytes())
	}
	for key := range m.have {
		if m.c.Has([]byte(key)) {
			m.fail("cleared key %q is there", key)
		}
	}
	m.have = model{}
}

func (m *machine) advance(n int) {
	m.note("advance %d ms", n)
	m.passed.Add(int64(time.Duration(n) * time.Millisecond))
}

// durable is what a generation of this moment has.
func (m *machine) durable() model {
	d := maps.Clone(m.have)
	maps.DeleteFunc(d, func(_ string, e modelEntry) bool { return e.memoryOnly })
	return d
}

// randomProgram is n commands; some programs are heavy on what others do not do.
func randomProgram(rnd *rand.Rand, config byte, n int) []byte {
	p := make([]byte, n)
	rnd.Read(p)
	p[0] = config
	return p
}

func FuzzCommands(f *testing.F) {
	rnd := rand.New(rand.NewSource(1))
	for i := range 8 {
		f.Add(randomProgram(rnd, byte(i), 600), byte(i))
	}
	f.Add([]byte{0, 1, 5, 100, 33, 1, 5, 120, 35, 37, 13, 5, 33, 36, 39, 4, 1, 2, 3, 38, 7}, byte(0))
	names := slices.Sorted(maps.Keys(badHashes))
	f.Fuzz(func(t *testing.T, program []byte, hash byte) {
		if len(program) > 4000 {
			return
		}
		runProgram(t, program, names[int(hash)%len(names)])
	})
}

var programsFlag = flag.Int("programs", 4, "random programs for each hash")

func TestACacheIsAMapThatForgets(t *testing.T) {
	for _, hash := range slices.Sorted(maps.Keys(badHashes)) {
		t.Run("hash="+hash, func(t *testing.T) {
			rnd := newRand(t)
			programs := *programsFlag
			if racing { // a single goroutine: nothing to find for the price
				programs = 1
			}
			for i := range programs {
				program := randomProgram(rnd, byte(i), 100+rnd.Intn(6000))
				runProgram(t, program, hash)
			}
		})
	}
}

// A self-describing value tells whose it is, which version, and whether it is
// whole: no reader needs to know what was written.
const selfMin = 32

func selfValue(key []byte, version uint64, n int) []byte {
	n = max(n, selfMin)
	v := make([]byte, n)
	binary.LittleEndian.PutUint64(v[8:], version)
	binary.LittleEndian.PutUint64(v[16:], uint64(n))
	x := version*0x9e3779b97f4a7c15 + uint64(n)
	for i := 24; i < n; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v[i] = byte(x)
	}
	binary.LittleEndian.PutUint64(v, selfSum(key, v[8:]))
	return v
}

func selfSum(key, rest []byte) uint64 {
	h := newHasher(99)
	return h.sum(key) ^ h.sum(rest)*3
}

func readSelf(key, v []byte) (version uint64, err error) {
	switch {
	case len(v) < selfMin || binary.LittleEndian.Uint64(v[16:]) != uint64(len(v)):
		return 0, fmt.Errorf("key %.20q: a value of %d bytes that nobody wrote", key, len(v))
	case binary.LittleEndian.Uint64(v) != selfSum(key, v[8:]):
		return 0, fmt.Errorf("key %.20q: a mixed value of %d bytes, version %d", key, len(v), binary.LittleEndian.Uint64(v[8:]))
	}
	return binary.LittleEndian.Uint64(v[8:]), nil
}
