package main

import (
	"encoding/json"
	"time"
)

// A job is the first line that the parent sends to a service.
type job struct {
	Dir      string // of the cache
	Root     string // tree to serve
	First    string // file asked for first, relative to Root, with slashes
	MaxBytes int64
	Interval time.Duration
}

// A command is each further line. Exactly one field is set. The service answers
// with one reply, except to Serve: there it sends replies until it ends.
type command struct {
	Pass  *passCommand `json:",omitempty"`
	Serve bool         `json:",omitempty"`
	Check int          `json:",omitempty"` // compare that many files
	Close bool         `json:",omitempty"`
}

// A passCommand asks for every file once.
type passCommand struct {
	Digest bool // over all values
}

// A reply is one line of a service. One field is set.
type reply struct {
	Opened     *opened     `json:",omitempty"`
	Pass       *pass       `json:",omitempty"`
	Served     *served     `json:",omitempty"`
	Checked    *checked    `json:",omitempty"`
	Closed     *closed     `json:",omitempty"`
	Generation *generation `json:",omitempty"` // at any time
	Error      string      `json:",omitempty"`
}

// Opened says that the cache is open and the first file answered for.
type opened struct {
	Open       time.Duration   // until Open returned
	First      time.Duration   // until the first answer, from before Open
	Hit        bool            // the first answer was in the cache
	Answer     json.RawMessage // a Summary
	Outcome    string          // of recovery
	Reason     string
	Generation uint64
	Weak       int
	LastWrite  int64 // time stamp found, in Unix nanoseconds; 0: none
}

// A pass is one round over all files.
type pass struct {
	List    time.Duration // finding the files; only in the first pass of a process
	Took    time.Duration // after that
	Files   int
	Hits    int
	Parsing time.Duration // summed over all goroutines
	Source  int64         // bytes in all files
	Entries int           // in the cache at the end
	Bytes   int64         // in the cache at the end
	Digest  uint64
}

// Served is sent every millisecond while serving.
type served struct {
	Requests uint64
	Parsed   uint64
	Stamp    int64 // last time stamp that was stored, in Unix nanoseconds
}

type checked struct {
	Wrong []string // files with another value in the cache than computed now
}

type closed struct {
	Took time.Duration
}

// A generation is a completed one.
type generation struct {
	Number uint64
	At     int64 // Unix nanoseconds
	Wrote  int64 // bytes written to files since the one before
}
