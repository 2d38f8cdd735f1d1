package power

import "time"

// A plan is what a life is to do.
type plan struct {
	Dir     string
	Seed    int64 // of the run: writes follow from it
	Draw    int64 // of everything else that is drawn
	Writers int
	First   uint64 // number of the life's first write
	Clock   uint64 // its times are beyond
	Pushes  bool   // dirty pages to the disk, now and then and without a flush

	Sessions []session
}

// A session is one Open and what comes until the cache is closed, or the process
// ends with it open.
type session struct {
	Rounds   int
	Exit     bool
	MaxBytes int64
	Shards   int
	Keep     int
	Interval time.Duration
	Weak     time.Duration
	Budget   time.Duration
	NoSync   bool
	Clears   bool
	Flush    bool // after the last round
	Verify   bool // everything, before anything is read
}

// An event is something that a writer did: a write, or a Clear, which is one for all
// of them.
type event struct {
	Number   uint64 `json:"n"`
	Clear    bool   `json:"c,omitempty"`
	From, To uint64 // a clock that counts calls and returns
	// Of what expires soon: the wall clock before and after.
	Born, Done int64 `json:",omitempty"`
}

// A message is what a life tells. It goes on when the answer has come.
type message struct {
	Kind string // one of those below
	Time int64  // wall clock

	Events [][]event // that have returned since the last message, by writer
	Counts []int     // of events of this life that returned before the call of what is acknowledged

	Generation uint64
	Found      [][]uint64 // number of the write of each key's value, by writer; 0: none
	Wrong      []string   // values that nobody stored
	Report     report
	LeftOut    uint64
}

const (
	kindFound   = "found"   // Open returned, and this is there
	kindFlushed = "flushed" // Flush returned
	kindClosed  = "closed"  // Close returned
	kindOver    = "over"    // the process ends with the cache open
	kindFailed  = "failed"  // what must not: Wrong says it
)

// A report is what Recovery said.
type report struct {
	Outcome    string
	Reason     string `json:",omitempty"`
	Generation uint64
	Weak       int
	Stale      bool
	Dropped    int
	Pages      int   // that were dropped
	Before     int64 // wall clock before Open
}
