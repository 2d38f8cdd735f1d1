package dump

import (
	"path/filepath"
	"time"

	"github.com/embercache/ember/pagefile"
)

// Bounds and defaults of a Config.
const (
	minKeep        = 2
	maxKeep        = 8 // leaves room in a record for generations that are read
	defaultBudget  = 100 * time.Millisecond
	defaultPending = 64 << 20
	minRing        = 64 << 10

	defaultSlow       = time.Second
	defaultScrubPause = time.Second
)

// A Config says where and how a Dumper writes. FS, Dir, Geometry and Frames have
// no default.
type Config struct {
	FS       pagefile.FS
	Dir      string
	WeakDir  string // of the weak ring; default Dir
	Geometry pagefile.Geometry
	Schema   string
	Frames   int // segments that the cache can hold in memory; bounds the page file

	Interval     time.Duration // between durable generations; <= 0: only Flush and Close
	WeakInterval time.Duration // between weak generations; <= 0: only Weak
	WeakBytes    int64         // size of a new weak ring; 0: no weak generations
	DirtyBytes   int64         // a durable generation earlier once this much was set; 0: no bound
	BytesPerSec  int64         // of pages and images; 0: no limit
	NoSync       bool          // the files are never synced
	Keep         int           // durable generations kept, 2 to 8
	Budget       time.Duration // worst-case time to serve again; default 100 ms
	PendingBytes int64         // journals kept for the next durable generation; default 64 MiB

	// MaxAge is what the next process will accept, 0: any age. A record that tells
	// how the cache was closed is not left with a time that is long past.
	MaxAge time.Duration
	// Obsolete are files in Dir that are removed once a generation is complete. While
	// one is there nobody would open that: until then Flush returns an error.
	Obsolete []string

	// Pressed says that the cache has little room left to hold what ends before it is
	// written. May be nil: it never is.
	Pressed func() bool

	// Linking is called before a link is written, with its number and hash: whoever
	// goes on from it can say so before a killed process finds it. May be nil.
	Linking func(pos pagefile.WeakPos)
	// Linked is called after each cut, by who took it: where its link ends, and whether
	// a killed process would find the chain up to there. May be nil.
	Linked func(c *Cut, pos pagefile.WeakPos, ok bool)

	SlowAfter  time.Duration // a step of writing that takes longer is told of; default 1 s
	ScrubPause time.Duration // between two pieces of a scrub; default 1 s, negative: none

	// Memory gives n bytes for one link, and a function that takes them back; nil
	// and nil: there are none. Default: the heap, as for short links.
	Memory func(n int) (b []byte, free func())

	Now func() time.Time // default time.Now
	// Time is what records tell: the cache's clock, in ms, and the wall clock at the
	// same moment. Default: 0, which is no time, and Now.
	Time  func() (clock int64, wall time.Time)
	Event func(Event) // may be nil; called under no lock, by who writes or by a timer: it must not wait
}

func (c Config) withDefaults() Config {
	if c.WeakDir == "" {
		c.WeakDir = c.Dir
	}
	if c.WeakBytes > 0 {
		c.WeakBytes = max(c.WeakBytes, minRing) &^ (pagefile.BlobAlign - 1)
	}
	c.Keep = min(max(c.Keep, minKeep), maxKeep)
	if c.Budget <= 0 {
		c.Budget = defaultBudget
	}
	if c.PendingBytes <= 0 {
		c.PendingBytes = defaultPending
	}
	if c.SlowAfter <= 0 {
		c.SlowAfter = defaultSlow
	}
	if c.ScrubPause == 0 {
		c.ScrubPause = defaultScrubPause
	}
	if c.Pressed == nil {
		c.Pressed = func() bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Time == nil {
		c.Time = func() (int64, time.Time) { return 0, c.Now() }
	}
	return c
}

// maxPlaces is what the page file grows to: a cache that turns over between two
// cuts needs its segments three times, in the newest generation, in the one
// before, and in the one being written.
func (c *Config) maxPlaces() uint32 { return uint32(3*c.Frames + 64) }

// obsolete are the paths of Obsolete.
func (c *Config) obsolete() (paths []string) {
	for _, name := range c.Obsolete {
		paths = append(paths, filepath.Join(c.Dir, name))
	}
	return paths
}
