package main

import "time"

// A load says what is written.
type load struct {
	Entries   int
	KeySize   int
	ValueSize int
	MaxBytes  int64
	Interval  time.Duration
	Rate      int
	Seed      uint64
}

// payload is the size of all keys and values.
func (l *load) payload() int64 {
	return int64(l.Entries) * int64(l.KeySize+l.ValueSize)
}

// A span is a run of writes, both ends included. It is empty if Last < First.
type span struct{ First, Last uint64 }

// A job is the first line that the parent sends to a child.
type job struct {
	load
	Dir string
}

// A command is each further line. One field is set. The child answers with one
// reply, after some that say how far it is; except to Write, where it sends
// acknowledgements until it ends.
type command struct {
	Fill  bool   `json:",omitempty"`
	Check []span `json:",omitempty"` // the writes that may have happened
	Write uint64 `json:",omitempty"` // the number of the first write
	Close bool   `json:",omitempty"`
}

// A reply is one line of a child. One field is set.
type reply struct {
	Opened *opened `json:",omitempty"`
	Filled *filled `json:",omitempty"`
	Ack    *ack    `json:",omitempty"`
	Check  *check  `json:",omitempty"`
	Closed *closed `json:",omitempty"`
	Done   int     `json:",omitempty"` // entries filled or checked so far
	Error  string  `json:",omitempty"`
}

// Opened says how the cache was opened. Times run from before Open.
type opened struct {
	Open       time.Duration // until Open returned
	FirstHit   time.Duration // until a Get returned a hit; 0: there was none
	Tries      int           // Gets until then
	Outcome    string        // of recovery
	Reason     string
	Generation uint64
	Weak       int
	Entries    int
	Dropped    int
}

// Filled says how long the fill took and the Flush after it.
type filled struct {
	Took, Flush time.Duration
	Entries     int   // Len
	Bytes       int64 // Bytes
}

// An ack is sent about every millisecond while writing: the writes after those
// of the ack before it and up to Last have begun and returned between the times
// Begun and At, in Unix nanoseconds.
type ack struct {
	Begun, At int64
	Last      uint64
	Entries   int   // Len
	Bytes     int64 // Bytes
}

// A check is what a look at every entry found.
type check struct {
	AllHits  time.Duration // for getting and comparing each entry once
	Verified time.Duration // from before Open until every page was verified
	Missing  int
	Wrong    int    // values that no write made under this key
	Outdated int    // values of another write than the last one up to Newest
	Newest   uint64 // the newest write found
}

type closed struct {
	Took    time.Duration
	Written int64 // Stats.DiskWritten
}
