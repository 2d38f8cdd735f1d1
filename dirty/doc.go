// Package dirty tracks which pages of which segments are to go home: to be
// written to their place in the page file.
//
// A page is added when it is full or its segment is sealed, is taken by the
// flush that writes it, and is given back when that flush failed. A page that is
// taken and not given back is that flush's: the Set has forgotten it. Nothing
// here knows what a page holds, and nothing here locks: one goroutine at a time.
package dirty
