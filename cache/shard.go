package cache

import (
	"sync"
	"sync/atomic"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/pagefile"
)

// A shard is a part of the cache with a lock, an index and queues of its own.
// Readers take no lock; see get.go for their argument. One shard's lock is held
// at a time, and under it there is no I/O, no system call and no callback. // I7
type shard struct {
	// Immutable after Open.
	cache       *Cache
	id          int
	frames      *frames
	large       *largeTable
	numbers     *numberSource
	segments    []segment // four rings, one a queue
	segmentSize int
	unitBits    uint   // log2 of units a segment
	unitMask    uint64 // units a segment - 1
	ringBits    uint
	ringMask    int

	index index
	// lazy is what Open has not brought into memory yet; nil once all is there.
	lazy atomic.Pointer[lazyShard]

	// home is, by queue, the sequence number below which all segments are home.
	home [fileQueues]atomic.Uint64

	lines atomic.Uint32 // cache lines of a common record: what a reader fetches ahead

	stats shardStats

	sweepMu sync.Mutex // one sweep at a time; taken before mu

	_  [64]byte // readers stay off the writers' lines
	mu sync.Mutex

	// Changed under mu, read at any time.
	live    gauge        // bytes of live entries, MemoryOnly ones included
	entries gauge        // live entries, MemoryOnly ones included
	sets    gauge        // since Open
	used    atomic.Int64 // frames behind this shard's segments

	cleaning atomic.Bool // somebody cleans here: for who looks for a shard to clean

	// Guarded by mu.
	epoch       uint64 // of the last cut
	queues      [queues]queue
	journal     journal
	ghosts      [3]ghosts // of files' small, of MemoryOnly small, of both mains
	own         [2]int64  // segments of large values in small and in main
	small       int64     // bytes that small should have; 0: main is being filled
	tired       int64     // see tireLocked
	newest      location  // of what was stored last
	replaced    replacedRecords
	walked      walked
	asked       location // up to where the cleaner has asked for records; see marks.go
	indebted    bool     // see indebtedLocked
	fileEntries int64    // of entries, those that files may hold
	fileLive    int64
	born        []dump.Large // large segments published since the last cut
	died        []uint64     // large segments retired since the last cut
	sweeping    bool         // see sweep.go
	walks       []*walk      // that are under way
	digest      uint64       // of the slots before digested; see digest.go
	digested    uint64
	guessed     bool // entries ended whose size was unknown: the gauges need a count
	shut        bool // closed: nothing is stored any more
	// Loads that are under way and were not overtaken, by hash; see flight.go.
	flights map[uint64]*flight
	// Until when no load in the background begins, by hash; and for how long yet
	// none of a key that is not in it, once it is full. See refresh.go.
	rests     map[uint64]int64
	restsFull int64
	cut       dump.ShardCut // what the last cut noted, until the cutter takes it

	// Of Durability.Live; see livelog.go.
	log      *pagefile.LiveWriter // nil: none
	logHeld  bool                 // stores wait for the next group
	logDelta int64                // entries that the group brings, and the gauges do not know
	logDead  int64                // entries that Clear has ended, and the gauges still have
	logTag   uint64               // of the next group
	logHead  uint64               // both heads together, of the last one
}

func (s *shard) count() int { return int(s.entries.Load()) }

// lock takes the shard's lock for a change. If the cut has moved on, the shard's
// part of it is noted first: what follows belongs to the next one. // I9
func (s *shard) lock() {
	s.mu.Lock()
	if e := s.cache.epoch.Load(); e != s.epoch {
		s.noteCutLocked(e)
	}
}

func (s *shard) unlock() { s.mu.Unlock() }

// recordAt returns the bytes from pos to the end of its segment.
func (s *shard) recordAt(q uint8, pos uint64) []byte {
	return s.frames.bytes(s.segmentAt(q, pos).frame.Load())[s.offsetOf(pos):]
}

// position is the whole position of a word that lies in its queue's live range.
func (s *shard) positionLocked(w word) uint64 {
	head := s.queues[w.queue()].head
	return head + uint64((w.pos()-uint32(head))&posMask)
}

// addLocked and dropLocked keep the gauges when an entry comes or goes.
func (s *shard) addLocked(q uint8, size int) { s.accountLocked(q, 1, int64(size)) }

func (s *shard) dropLocked(q uint8, size int) { s.accountLocked(q, -1, -int64(size)) }

func (s *shard) accountLocked(q uint8, entries, bytes int64) {
	if entries != 0 {
		s.entries.Add(entries)
	}
	if bytes != 0 {
		s.live.Add(bytes)
	}
	if q < fileQueues {
		s.fileEntries += entries
		s.fileLive += bytes
		if s.fileEntries == 0 { // sizes that were averages end here
			s.settleReplacedLocked()
			s.live.Add(-s.fileLive)
			s.fileLive = 0
		}
	}
}

// guessLocked ends entries whose sizes are unknown: the average stands in for
// them until settlePages counts.
func (s *shard) guessLocked(q uint8, entries int64) {
	s.accountLocked(q, -entries, -entries*s.live.Load()/max(s.entries.Load(), 1))
	s.guessed = true
}

// recountLocked sets the gauges to what the index says. The caller holds sweepMu,
// and every page is in memory.
func (s *shard) recountLocked() {
	s.guessed = false
	s.settleReplacedLocked()
	var entries, live, memoryEntries, memoryLive int64
	for slot := range s.index.buckets() * bucketSlots {
		w := s.index.load(slot)
		if w == 0 {
			continue
		}
		size := int64(readHeader(s.recordAt(w.queue(), s.positionLocked(w))).size(s.segmentSize))
		if w.queue() < fileQueues {
			entries, live = entries+1, live+size
		} else {
			memoryEntries, memoryLive = memoryEntries+1, memoryLive+size
		}
	}
	s.fileEntries, s.fileLive = entries, live
	s.entries.Store(entries + memoryEntries)
	s.live.Store(live + memoryLive)
}

// forgetLocked ends a live entry whose slot the caller clears or overwrites, and
// notes why for OnEvict.
func (s *shard) forgetLocked(w word, h header, why Cause) {
	if s.cache.leavers != nil {
		s.leaveLocked(w.queue(), s.positionLocked(w), h, why)
	}
	s.buryLocked(w, h)
}

// buryLocked is forgetLocked for what nobody is told of: the gauges, and the
// segments of a large value. // I13
func (s *shard) buryLocked(w word, h header) {
	s.unmarkLocked(w.queue(), s.positionLocked(w))
	s.dropLocked(w.queue(), h.size(s.segmentSize))
	if h.large() {
		s.retireLargeLocked(w, h)
	}
}

// A location is where a record lies.
type location struct {
	queue uint8
	pos   uint64
}

// walked counts what the cleaner did.
type walked struct{ records, bytes, moved uint64 }

// shardStats are counters since Open. Hits and misses of lock-free readers are
// atomics on lines of their own.
type shardStats struct {
	_       [64]byte
	hits    atomic.Uint64
	misses  atomic.Uint64
	expired atomic.Uint64
	_       [64]byte

	deletes, rejected       atomic.Uint64
	evictions, evictedBytes atomic.Uint64
	corrupt                 atomic.Uint64 // blocks, checksums and entries
	dropped                 atomic.Uint64 // entries that could not be proved
	loads                   atomic.Uint64 // pages and index blocks read
	verified                atomic.Uint64 // pages
}
