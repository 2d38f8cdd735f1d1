package hitratio

// A Policy says of each access whether it was a hit; a miss stores the key.
type Policy interface{ Access(key uint32) (hit bool) }

// Hits counts the hits of accesses.
func Hits(p Policy, accesses []uint32) (hits int) {
	for _, key := range accesses {
		if p.Access(key) {
			hits++
		}
	}
	return hits
}

// Policies are all there are, by name, for a trace's keys.
var Policies = map[string]func(tr Trace, room int) Policy{
	"ideal":  func(tr Trace, room int) Policy { return newIdeal(tr.Keys, room, tr.Accesses) },
	"lru":    func(tr Trace, room int) Policy { return newLRU(tr.Keys, room) },
	"fifo":   func(tr Trace, room int) Policy { return newFIFO(tr.Keys, room) },
	"sieve":  func(tr Trace, room int) Policy { return newSIEVE(tr.Keys, room) },
	"s3fifo": func(tr Trace, room int) Policy { return newS3FIFO(tr.Keys, room) },
	"arc":    func(tr Trace, room int) Policy { return newARC(tr.Keys, room) },
}
