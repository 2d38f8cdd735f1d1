// Package dump is the only writer of a cache's directory: it turns cuts of a
// running cache into generations.
//
// A [Dumper] asks its [Source] for a cut and writes what changed since the cut
// before. A weak generation is one link of a chain in a ring, without sync, for
// a process that is killed. A durable generation outlives the machine: full
// pages go home to their places, the rest of the cut lies in a blob, and a
// generation record names both. It is full when a new image of the indexes was
// written first, else light.
//
// Words, beyond those of package pagefile:
//
//   - home: a page is home when its place holds it and that file was synced since.
//   - row: what the dumper knows of one segment: place, fill, checksums.
//   - told: what the newest image and the blobs since it say of a row.
//   - limbo: the state of a generation whose record may or may not be durable.
//     Its record is written again under the next number before anything else is.
//   - restate: to write the newest generation's record under a new number.
//
// The rule that bites: state moves forward only after the sync that makes it
// true. What is home, what is told, which tails are durable, what may be
// overwritten: all of it is decided on what the newest durable record names,
// never on what was merely written (I2, I8).
package dump
