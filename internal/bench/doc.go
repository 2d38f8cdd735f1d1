// Command bench measures Ember with persistence on beside other caches for Go,
// in one run, and says which of its goals are met.
//
//	go run . all [-out DIR] [-rounds N] [-quick]    every row
//	go run . NAME...                                 some of them
//	go run . list                                    their names
//
// A row is a question, a variant one size or setting of it, a contestant a cache
// with its settings, a figure what is measured. Each round measures every
// contestant of a variant once, each in a fresh process, in an order that turns
// by one each round. Ratios are of one round, to the reference contestant; the
// table has the median over the rounds and the spread. A process that fails, or a
// cache that returns another key's value, fails the row.
//
// -out gets a table in markdown, charts as SVG and PNG, and all samples as JSON.
package main
