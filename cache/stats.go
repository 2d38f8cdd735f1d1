package cache

import "time"

// Stats is a snapshot of counters since Open and of gauges.
type Stats struct {
	Hits, Misses, Expired uint64 // Expired lookups are misses as well
	// Hits of GetOrLoad past the time to live, and those that found that the key
	// does not exist; both are Hits as well.
	StaleHits, NegativeHits uint64
	Sets, Deletes, Rejected uint64 // Rejected: no memory or index slot was left for it
	Evictions, EvictedBytes uint64
	EvictDropped            uint64 // calls of OnEvict that were left out, or panicked
	EventsDropped           uint64 // the same of Events and of lines to the Logger
	// Calls of a loader that have ended, those that failed other than by
	// ErrNotFound, callers who waited for a load of another, and the time that
	// loaders took.
	Loads, LoadErrors, LoadsShared uint64
	LoadTime                       time.Duration

	PagesCorrupt uint64 // entries, index blocks and checksums that failed verification
	Undecoded    uint64 // entries that typed views dropped: they did not decode, or were of another codec
	Faults       uint64 // pages and index blocks read since Open

	Flushes, FlushErrors             uint64 // durable generations, and attempts that failed
	FullGenerations, WeakGenerations uint64
	FlushPages, FlushBytes           uint64 // pages that went home; bytes that durable generations wrote
	LeftOut                          uint64 // pages evicted before they could go home
	LiveGaps                         uint64 // weak generations until which a live log was full; see Durability.Live
	// Pages that the scrub read back from the disk and compared, and how many of them,
	// of blobs, images and records of the newest generation, and of files that were
	// removed, were written again elsewhere.
	PagesScrubbed, PagesMended uint64
	// Bytes written since Open, by file; DiskWritten is their sum with records.
	PageBytes, BlobBytes, ImageBytes, WeakBytes int64
	DiskWritten                                 int64
	FlushTime                                   Histogram // of durable generations
	// DumpBusy is how long weak and durable generations were being written, by the
	// wall clock, without the rests that BytesPerSec imposes. Over the time between
	// two snapshots it bounds the share of a processor that dumps took: waits for the
	// disk are in it.
	DumpBusy time.Duration
	// DurableLag is from write to durable: of each durable generation, its oldest
	// write. Most of its writes waited for less.
	DurableLag Histogram

	Entries           int
	Bytes, MaxBytes   int64 // Bytes counts live entries with headers and padding
	ResidentBytes     int64 // memory behind segments in use, and the index; none of it on Go's heap
	OnDisk            int64 // bytes of the cache's files
	MappedBytes       int64 // of them, those that are mapped
	DirtyBytes        int64 // stored since the newest durable generation
	Generation        uint64
	LastVerified      uint64 // generation whose files were last compared with memory and equal to it
	LastFlush         time.Time
	PredictedRecovery time.Duration // if the process were killed now
}

// HitRatio is hits over lookups; 0 before the first.
func (s Stats) HitRatio() float64 {
	if s.Hits+s.Misses == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

// Sub is what the counters grew by since t, an earlier snapshot of the same
// cache. Gauges are those of s.
func (s Stats) Sub(t Stats) Stats {
	for _, c := range [][2]*uint64{
		{&s.Hits, &t.Hits}, {&s.Misses, &t.Misses}, {&s.Expired, &t.Expired},
		{&s.Sets, &t.Sets}, {&s.Deletes, &t.Deletes}, {&s.Rejected, &t.Rejected},
		{&s.StaleHits, &t.StaleHits}, {&s.NegativeHits, &t.NegativeHits},
		{&s.Loads, &t.Loads}, {&s.LoadErrors, &t.LoadErrors}, {&s.LoadsShared, &t.LoadsShared},
		{&s.Evictions, &t.Evictions}, {&s.EvictedBytes, &t.EvictedBytes},
		{&s.EvictDropped, &t.EvictDropped}, {&s.EventsDropped, &t.EventsDropped},
		{&s.PagesCorrupt, &t.PagesCorrupt}, {&s.Undecoded, &t.Undecoded}, {&s.Faults, &t.Faults},
		{&s.Flushes, &t.Flushes}, {&s.FlushErrors, &t.FlushErrors},
		{&s.FullGenerations, &t.FullGenerations}, {&s.WeakGenerations, &t.WeakGenerations},
		{&s.FlushPages, &t.FlushPages}, {&s.FlushBytes, &t.FlushBytes}, {&s.LeftOut, &t.LeftOut}, {&s.LiveGaps, &t.LiveGaps},
		{&s.PagesScrubbed, &t.PagesScrubbed}, {&s.PagesMended, &t.PagesMended},
	} {
		*c[0] -= *c[1]
	}
	for _, c := range [][2]*int64{
		{&s.PageBytes, &t.PageBytes}, {&s.BlobBytes, &t.BlobBytes}, {&s.ImageBytes, &t.ImageBytes},
		{&s.WeakBytes, &t.WeakBytes}, {&s.DiskWritten, &t.DiskWritten},
	} {
		*c[0] -= *c[1]
	}
	s.FlushTime, s.DurableLag = s.FlushTime.sub(t.FlushTime), s.DurableLag.sub(t.DurableLag)
	s.LoadTime -= t.LoadTime
	s.DumpBusy -= t.DumpBusy
	return s
}

// Len is the current number of entries. Expired ones count until their space is
// taken, and so does what is known not to exist.
func (c *Cache) Len() int {
	var n int64
	for _, s := range c.shards {
		n += s.entries.Load()
	}
	return int(n)
}

// Bytes is what the entries occupy: keys, values, record headers and padding.
func (c *Cache) Bytes() int64 {
	c.settleReplaced(false)
	return c.live()
}

// live is Bytes as the gauges have it.
func (c *Cache) live() (n int64) {
	for _, s := range c.shards {
		n += s.live.Load()
	}
	return n
}

// Stats returns counters since Open and current gauges. It waits for no shard's
// lock. For expvar: expvar.Publish("users", expvar.Func(func() any { return
// c.Stats() })).
func (c *Cache) Stats() Stats {
	st := Stats{Entries: c.Len(), Bytes: c.Bytes(), MaxBytes: c.opts.MaxBytes, Undecoded: c.undecoded.Load()}
	for _, s := range c.shards {
		st.Hits += s.stats.hits.Load()
		st.Misses += s.stats.misses.Load()
		st.Expired += s.stats.expired.Load()
		st.Sets += uint64(s.sets.Load())
		st.Deletes += s.stats.deletes.Load()
		st.Rejected += s.stats.rejected.Load()
		st.Evictions += s.stats.evictions.Load()
		st.EvictedBytes += s.stats.evictedBytes.Load()
		st.PagesCorrupt += s.stats.corrupt.Load()
		st.Faults += s.stats.loads.Load()
		st.ResidentBytes += s.used.Load()*int64(c.segmentSize) + int64(s.index.buckets())*bucketSize + s.ghostBytes()
	}
	if c.leavers != nil {
		st.EvictDropped = c.leavers.dropped.Load()
	}
	st.EventsDropped = c.notices.dropped.Load()
	c.loads.addTo(&st)
	c.persistStats(&st)
	return st
}
