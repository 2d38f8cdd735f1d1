package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// A decoder is what takes bytes of a file; its fuzz test has its name.
type decoder struct {
	pkg, name string
	suite     string // the test that runs it without coverage
	flag      string // of that test: how many inputs
	full      int    // inputs
}

const anything, executions = "TestDecodersTakeAnything", "-executions"

// decoders are all there are. The last three work on whole directories, and are slow.
var decoders = []decoder{
	{"./pagefile", "FuzzName", anything, executions, 10_000_000},
	{"./pagefile", "FuzzHolder", anything, executions, 10_000_000},
	{"./pagefile", "FuzzStruct", anything, executions, 10_000_000},
	{"./pagefile", "FuzzFileHeader", anything, executions, 10_000_000},
	{"./pagefile", "FuzzRecord", anything, executions, 10_000_000},
	{"./pagefile", "FuzzRing", anything, executions, 10_000_000},
	{"./pagefile", "FuzzBlob", anything, executions, 10_000_000},
	{"./pagefile", "FuzzSection", anything, executions, 10_000_000},
	{"./pagefile", "FuzzImage", anything, executions, 10_000_000},
	{"./pagefile", "FuzzGhosts", anything, executions, 10_000_000},
	{"./pagefile", "FuzzLive", anything, executions, 10_000_000},
	{"./cache", "FuzzDecoders", anything, executions, 10_000_000},
	{"./cache", "FuzzHeader", anything, executions, 10_000_000},
	{"./cache", "FuzzPieces", anything, executions, 10_000_000},
	{"./cache", "FuzzNames", anything, executions, 10_000_000},
	{"./cache", "FuzzLimit", anything, executions, 10_000_000},
	{"./loader", "FuzzLoad", "TestLoadTakesAnything", executions, 200_000},
	{"./cache", "FuzzOpen", "TestOpenTakesAnything", "-directories", 50_000},
	{"./cache", "FuzzCommands", "TestACacheIsAMapThatForgets", "-programs", 1000},
}

// chosenDecoders are those that -only names, all without it.
func chosenDecoders(o *options) ([]decoder, error) {
	chosen := slices.Clone(decoders)
	if o.Only != "" {
		chosen = slices.DeleteFunc(chosen, func(d decoder) bool { return d.name != o.Only })
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-only %s: no such decoder", o.Only)
	}
	return chosen, nil
}

var fuzzExperiment = experiment{
	name:  "fuzz",
	title: "millions of inputs for each decoder, made from its corpus",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		chosen, err := chosenDecoders(o)
		if err != nil {
			return err
		}
		if o.Quick && o.Only == "" { // one of each test
			chosen = slices.CompactFunc(chosen, func(a, b decoder) bool { return a.pkg+a.suite == b.pkg+b.suite })
		}
		for _, d := range chosen {
			tests := "^" + d.suite + "$"
			if d.suite == anything {
				tests += "/^" + d.name + "$"
			}
			s := suite{d.pkg, tests, []string{d.flag, strconv.Itoa(o.count(2, d.full))}}
			if err := s.run(ctx, o, w); err != nil {
				return err
			}
		}
		return nil
	},
}
