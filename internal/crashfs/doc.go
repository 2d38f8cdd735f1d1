// Package crashfs is a file system in memory for tests: a [pagefile.FS] that
// loses power, kills its process, fails, fills up and hangs on request.
//
// Every operation that changes something is an [Op] in a log, numbered from 0.
// [FS.Crash] rebuilds what a power cut after the first n of them may leave,
// [FS.Kill] what the next process finds after a kill there: so a test runs a
// program once and then visits all its crash points. Rebuilding shares the bytes
// of the log and costs a pointer a page.
//
// Words:
//
//   - kept, lost, torn: what a power cut does to an operation that no sync had
//     covered. A write is torn at sectors; a size may outlive the bytes.
//   - covered: a sync covers what had returned before the sync began.
//   - settled: decided, kept or not. A good sync settles what it covers as kept;
//     a failed one leaves that to chance, and no later sync saves it.
//   - damage: what the disk did by itself. It is never lost.
//
// The rule that bites: names are settled by SyncDir alone. A file that was
// synced, in a directory that was not, may be gone.
package crashfs
