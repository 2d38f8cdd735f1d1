// Command lab tries to break what Ember promises of crashes, failures and damage,
// for longer than go test can, and says what it has tried.
//
//	go run . list                               the experiments
//	go run . NAME... [-count N] [-seed N]       some of them
//	go run . fuzz -only FuzzRecord              one decoder
//	go run . all [-quick]                       every one, or each for a moment
//
// An experiment ends with a line that counts what it has seen, or with what broke and
// the seed that does so again. Each takes less than 45 minutes on two cores. Those that
// look at every byte asked of a disk are tests of package cache with longer settings:
// there is one oracle, and it lives beside the code.
package main
