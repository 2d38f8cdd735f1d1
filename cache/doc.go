// Package cache is an in-process cache that survives restarts.
//
// A [Cache] keeps its entries in memory of its own and answers from there. What
// changed since the last flush is tracked, checksummed and written to page files
// in the background; a flush that completes becomes a generation. [Open] maps the
// newest complete generation, so a restarted process serves hits before it has
// read the files.
//
// It is a cache: an entry may be gone at any time. A restart does not return a
// value that was never stored under its key: pages are verified before their
// first use, and a page that fails is dropped.
//
// A power cut, unlike Close, undoes the writes and deletes since the newest
// generation, so a deleted entry can be back. Bound that with Durability.Interval,
// call Flush after a Delete that must last, or set Recovery.Unclean. A killed
// process loses at most the last few milliseconds; see Durability.Weak. What must
// never reach a disk is stored with EntryOptions.MemoryOnly.
//
// All methods of Cache and Typed are safe for concurrent use.
//
// # Reading the source
//
// From the smallest to the largest: word.go (the 8 bytes that an index slot
// holds), header.go (a record), segment.go and queue.go (where records lie),
// index.go (where slots lie), shard.go, get.go (the order of a read), set.go (the
// order of a write), guard.go (a write on a condition), evict.go and policy.go (how
// space comes back), flight.go and load.go (one load per key), cut.go (what a
// generation contains), open.go and recover.go (how one is taken up again), typed.go
// (Go types over it).
package cache
