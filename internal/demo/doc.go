// Package demo is what the examples share: a child process to kill, progress on
// a terminal, warnings, and numbers for people.
//
// A parent starts its own executable again as a child. The two talk over the
// child's standard input and output, one JSON value a line. A child that can no
// longer read has lost its parent and should end.
package demo
