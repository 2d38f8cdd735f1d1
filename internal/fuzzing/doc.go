// Package fuzzing runs one check of hostile bytes in two ways: as a fuzz test of go
// test, which is led by coverage and keeps what it finds, and as a test that makes
// millions of inputs out of that corpus in a minute.
//
// A target takes bytes and a mode. Most have a mode in which the harness puts
// checksums right before it decodes: else nothing behind the first checksum would
// ever be reached.
package fuzzing
