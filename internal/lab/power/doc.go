// Package power cuts the power of real file systems under a cache.
//
// A disk is a file of a FUSE file system, which keeps every write and every flush in
// order. A loop device makes a block device of it, ext4 or xfs lie on that, and a
// process of its own uses a cache there. Of what the disk was asked, any moment can be
// chosen: what was written before the last flush until then is kept, of what came after
// it any part. The image that this leaves is served as another disk, mounted, and held
// to the law by another process: what it finds there is the state at some cut that is
// not older than the last acknowledged one.
//
// Words: a life is a process that opens the cache, once or several times in a row, and
// tells of all that it does. A history is what lives have told, and what of it was
// acknowledged when the disk had been asked how much. A world is a recorded disk with
// its history. A state is what a power cut leaves of a world.
//
// Everything that is mounted is mounted in a mount namespace that ends with its last
// process, so nothing is left of a run, however it ends.
package power
