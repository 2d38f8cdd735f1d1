package cache

import (
	"fmt"
	"log/slog"
	"math/bits"
	"runtime"
	"time"
)

// Options configures Open. The zero value of every field is a usable default,
// and Open accepts a nil *Options. Open copies it.
type Options struct {
	// MaxBytes bounds keys, values and record headers together, in bytes; 1 MiB
	// to 1 TiB. The page files are larger by the spare and retained segments;
	// their space is allocated, not sparse. Default 256 MiB, or a quarter of the
	// memory that the process may take (its control groups' limit, or all that the
	// machine has) if that is less. It may change between runs: Open gives a
	// directory whose shape does not suit it any more another, and keeps what fits.
	// See Footprint.
	MaxBytes int64
	// MaxEntryBytes bounds one key plus value, in bytes: MaxBytes/4 and 128 MiB at
	// most. Default the smaller of 64 MiB and MaxBytes/8. Segments set a bound too:
	// they have a 64th of a shard's share of MaxBytes, 16 to 256 KiB, and a key
	// has half of one at most. In the smallest an entry has to 8 MiB.
	MaxEntryBytes int
	// Shards is rounded up to a power of two, 256 at most; each needs 1 MiB of
	// MaxBytes. Default: what the directory has, else four for each of GOMAXPROCS.
	// Another number than the directory's has Open convert it, which takes time:
	// where Recovery.Timeout is too short the directory keeps its own.
	Shards int

	// Schema names the meaning of stored values, for example a build ID or
	// "user/v3"; 255 bytes at most. A directory written under another Schema is
	// opened cold.
	Schema string

	Freshness  Freshness  // expiry, refresh, negative entries
	Durability Durability // when and how generations are written
	Recovery   Recovery   // how Open takes a generation up

	// WhenLocked says what Open does while another process holds the directory, as
	// the old one does during a rolling update. LockWait sees the generation that
	// the holder's Close writes.
	WhenLocked LockPolicy
	// LockTimeout bounds LockWait. Default 10 s.
	LockTimeout time.Duration
	// ReadOnly serves the newest generation, with the links that follow it, and
	// changes nothing in the directory: it needs no lock, works beside a live owner,
	// who keeps that generation's files until the reader is closed or ends, and on a
	// file system that is read-only. It does not follow the owner. Writes return
	// ErrReadOnly and Delete returns false; what GetOrLoad loads it returns, and does
	// not store. A directory that does not exist is an error, one without a
	// generation is opened cold.
	ReadOnly bool
	// CloseTimeout bounds the final flush of Close. Default 10 s.
	CloseTimeout time.Duration
	// OnEvict is called after an entry left the cache, on a goroutine of the cache,
	// never under a lock; key and value are copies, which may be kept. Whatever the
	// Cause, the events of a key come in their order; a Set for which there was no
	// room is one of CauseEvicted. Entries that Close ends, or that Open could not
	// restore, or of which bytes were lost, make no call. 16,384 entries and 16 MiB
	// wait at most, with large values in an eighth of the cache's memory; beyond,
	// while OnEvict is slow or Clear is fast, they are dropped and counted:
	// Stats.EvictDropped. It may call any method: Close then returns without the
	// events that still wait, else it waits for them. Nil: no entry is copied.
	OnEvict func(key, value []byte, why Cause)
	// Events receives lifecycle events. Open copies it.
	Events *Events
	// Logger defaults to slog.Default(). Use slog.New(slog.DiscardHandler) to
	// silence. Nothing is logged per operation, and everything on a goroutine of
	// its own: one that blocks holds up Events, and Close to its timeout.
	Logger *slog.Logger
	// Name labels logs. Default: base name of dir.
	Name string
	// Clock is for tests. It is read in the background, too. Default: time.Now.
	Clock func() time.Time

	hooks hooks // for tests of this package
}

// Durability says when generations are written.
type Durability struct {
	Interval time.Duration // between durable generations; default 1 s; negative: only Flush and Close
	// Live is a folder on a tmpfs, made if it is missing and of this user alone, for a
	// log of what was written since the newest weak generation: with it a killed process
	// loses nothing that returned, once Open has. It needs weak generations, Linux, and
	// the same folder at the next Open; copies of a directory need one each. The log
	// takes an eighth of MaxBytes, 1 to 64 MiB, of memory, allocated when the cache opens
	// and charged to the process's control group; in a container the folder is a mount of
	// its own (medium: Memory, or a tmpfs volume) that outlives the process. A Set takes
	// half as long again.
	//
	// Health and a line in the Logger say where it does not serve, and weak generations
	// do: for good without tmpfs, room or rights; until the next generation while the
	// disk is too slow for the log or for them, which Stats.LiveGaps counts. A log that
	// was not whole makes the next Open's outcome partial. Close removes the file; that
	// of a killed process stays until the directory is opened with the option. Whoever
	// truncates the file kills the process. "": no log.
	Live        string
	Weak        time.Duration // between weak generations, for killed processes, from the first durable one on; default 5 ms; negative: none
	WeakDir     string        // folder of their ring, a tmpfs say; default the cache's own
	DirtyBytes  int64         // flush earlier once this much changed; default MaxBytes/16, 1 MiB at least
	BytesPerSec int64         // write-rate limit of pages and images; 0: none
	NoSync      bool          // skip fdatasync; a power cut may then cost any generation
	Keep        int           // durable generations kept; default 2, which is also the least; 8 at most
}

// Recovery says how Open takes a generation up.
type Recovery struct {
	Verify  VerifyMode
	Budget  time.Duration // worst-case time to serve again that dumps keep; default 100 ms
	Timeout time.Duration // give up and open cold; default 5 s; VerifyEager is bounded by ctx instead
	// Positional reads the files with positional reads instead of mapping them,
	// as happens by itself on a network file system and where mapping fails.
	Positional bool
	// Unclean says what to do after a run that did not end with Close, as one that
	// still runs has not. Set it in every run: those with UncleanDiscard say on file
	// that they began, before Open returns.
	Unclean UncleanPolicy
	// MaxAge ignores a generation whose time, by the wall clock, is longer ago, or
	// ahead by more than that or a minute: then its age cannot be told. It counts from
	// Close, or from the newest write on file. 0: any age.
	MaxAge time.Duration
	// Generation opens that generation, without the links that follow it, as with
	// ReadOnly. Unclean, MaxAge and a file named RESET do not count then. That it
	// cannot be had is Open's error, which names those that can. 0: the newest.
	Generation uint64
	// Validate is asked once before Open returns whether what was recovered makes
	// sense to the application. An error, or a panic, makes Open go back to the
	// generation before, ask about that, and so on; the one that is accepted is the
	// newest from then on, and if none is, the cache is cold. With Generation it is
	// Open's error. The Cache can be read, but not written or closed, and is gone if
	// the error is not nil. Nothing bounds the time that Validate takes.
	Validate func(*Cache) error
}

// VerifyMode says when pages are verified.
type VerifyMode uint8

const (
	VerifyLazy  VerifyMode = iota // each page before first use, and all in the background
	VerifyEager                   // all pages before Open returns
)

const (
	minBytes         = 1 << 20
	minSegment       = 16 << 10
	maxSegment       = 256 << 10
	segmentsPerShard = 64 // at least
	maxShards        = 256
	maxShardBytes    = 4 << 30
)

// geometry is the shape that follows from MaxBytes and stays with the directory.
type geometry struct {
	shards, segmentSize, baseBuckets int
}

// withDefaults returns a copy with every default filled in, or what is wrong.
func (o *Options) withDefaults() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	if d.MaxBytes == 0 {
		d.MaxBytes = d.defaultMaxBytes()
	}
	def(&d.CloseTimeout, 10*time.Second)
	def(&d.LockTimeout, 10*time.Second)
	def(&d.Durability.Interval, time.Second)
	def(&d.Durability.Weak, 5*time.Millisecond)
	def(&d.Durability.DirtyBytes, max(d.MaxBytes/16, 1<<20))
	def(&d.Durability.Keep, 2)
	def(&d.Freshness.Jitter, defaultJitter)
	def(&d.Recovery.Budget, 100*time.Millisecond)
	def(&d.Recovery.Timeout, 5*time.Second)
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return d, d.validate()
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (o *Options) validate() error {
	switch {
	case o.MaxBytes < minBytes:
		return fmt.Errorf("cache: Options.MaxBytes is %d; the least is %d", o.MaxBytes, minBytes)
	case o.MaxBytes > maxShards*maxShardBytes:
		return fmt.Errorf("cache: Options.MaxBytes is %d; the most is %d", o.MaxBytes, int64(maxShards*maxShardBytes))
	case o.Shards < 0 || o.Shards > maxShards:
		return fmt.Errorf("cache: Options.Shards is %d; 0 to %d are possible", o.Shards, maxShards)
	case o.Shards > 0 && o.MaxBytes/int64(ceilPow2(o.Shards)) < minBytes:
		return fmt.Errorf("cache: %d shards need Options.MaxBytes of at least %d; it is %d", ceilPow2(o.Shards), int64(ceilPow2(o.Shards))*minBytes, o.MaxBytes)
	case o.MaxEntryBytes < 0 || o.MaxEntryBytes > maxValue:
		return fmt.Errorf("cache: Options.MaxEntryBytes is %d; the most is %d", o.MaxEntryBytes, maxValue)
	case int64(o.MaxEntryBytes) > o.MaxBytes/4:
		return fmt.Errorf("cache: Options.MaxEntryBytes is %d; it may be a quarter of MaxBytes, %d", o.MaxEntryBytes, o.MaxBytes/4)
	case len(o.Schema) > 255:
		return fmt.Errorf("cache: Options.Schema has %d bytes; the most is 255", len(o.Schema))
	case o.Durability.Keep < 2 || o.Durability.Keep > 8:
		return fmt.Errorf("cache: Durability.Keep is %d; 2 to 8 are possible", o.Durability.Keep)
	case o.Durability.Live != "" && o.Durability.Weak < 0:
		return fmt.Errorf("cache: Durability.Live is %q, and Durability.Weak is %v; a live log lasts from one weak generation to the next", o.Durability.Live, o.Durability.Weak)
	case o.Recovery.Verify > VerifyEager:
		return fmt.Errorf("cache: Recovery.Verify is %d; see VerifyMode", o.Recovery.Verify)
	case o.Recovery.Unclean > UncleanDiscard:
		return fmt.Errorf("cache: Recovery.Unclean is %d; see UncleanPolicy", o.Recovery.Unclean)
	case o.WhenLocked > LockWait:
		return fmt.Errorf("cache: Options.WhenLocked is %d; see LockPolicy", o.WhenLocked)
	}
	if err := o.Freshness.validate(); err != nil {
		return err
	}
	return o.validateSigns()
}

// validateSigns refuses what is negative and means nothing so: a Close whose time
// is over before it begins would lose the last generation.
func (o *Options) validateSigns() error {
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"Options.CloseTimeout", int64(o.CloseTimeout)},
		{"Options.LockTimeout", int64(o.LockTimeout)},
		{"Recovery.MaxAge", int64(o.Recovery.MaxAge)},
		{"Recovery.Budget", int64(o.Recovery.Budget)},
		{"Recovery.Timeout", int64(o.Recovery.Timeout)},
		{"Durability.DirtyBytes", o.Durability.DirtyBytes},
		{"Durability.BytesPerSec", o.Durability.BytesPerSec},
	} {
		if v.value < 0 {
			return fmt.Errorf("cache: %s is %d; it must not be negative", v.name, v.value)
		}
	}
	return nil
}

// shape gives the geometry of a new directory.
func (o *Options) shape() geometry {
	shards := ceilPow2(o.Shards)
	if o.Shards == 0 {
		shards = min(ceilPow2(4*runtime.GOMAXPROCS(0)), maxShards)
		for shards > 1 && o.MaxBytes/int64(shards) < segmentsPerShard*4*minSegment {
			shards /= 2
		}
	}
	return o.shapeWith(shards)
}

// shapeWith gives the geometry for so many shards, or more where these would be
// too large.
func (o *Options) shapeWith(shards int) geometry {
	for shards < maxShards && o.MaxBytes/int64(shards) > maxShardBytes {
		shards *= 2
	}
	perShard := int(o.MaxBytes / int64(shards))
	segment := maxSegment
	for segment > minSegment && perShard/segment < segmentsPerShard {
		segment /= 2
	}
	base := min(max(ceilPow2(perShard/bytesPerBase), baseMin), baseMax)
	return geometry{shards: shards, segmentSize: segment, baseBuckets: base}
}

func ceilPow2(n int) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(n-1))
}

// entryLimit is the most that a key and value may have. The list of a large
// value's segments takes a quarter of a segment at most, as the key does.
func (o *Options) entryLimit(g geometry) int {
	limit := o.MaxEntryBytes
	if limit == 0 {
		limit = int(min(64<<20, o.MaxBytes/8))
	}
	return min(limit, g.segmentSize/4/8*g.segmentSize)
}

// ringSize is the number of segments a queue can have: a shard may grow to four
// times its share. Within a ring a word's position must name one segment, so it
// spans a lap at most.
func ringSize(frames int, g geometry) int {
	return min(ceilPow2(min(frames, 4*frames/g.shards)+2), lap/(g.segmentSize/unitSize))
}
