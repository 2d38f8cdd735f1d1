// Package loader is the only reader of a cache's directory at start: it chooses
// the newest generation, verifies what it names, and yields what a cache
// rebuilds its shards from. It writes nothing.
//
// Words, beyond those of package pagefile:
//
//   - cold: nothing is recovered; a [Result] without a Record.
//   - case: something that may be wrong with a directory, and what is done about
//     it. All of them are in [Table]; a [Finding] says that one was met.
//   - told: a segment is told by the image's table, a blob or a link.
//   - emptied: a shard whose stores so far cannot be proved complete. Its index
//     begins empty there, and what later sections say still counts.
//
// The rule that bites: damage costs entries, never time. A shard is emptied, a
// page becomes a miss, but an older generation is not taken, because it would
// bring deleted and overwritten values back. Only where every copy of the newest
// record is lost does an older one serve, and then the Result says so.
//
// Bytes that a Result holds were copied out of the files before they were
// verified (I3), except the pages and the index: those are read later, through
// Pages and Image, and proved by whoever reads them.
package loader
