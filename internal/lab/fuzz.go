package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
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

// decoders are all there are, the longest first: they run side by side. Three work on
// whole directories or caches, and are slow.
var decoders = []decoder{
	{"./loader", "FuzzRecover", anything, executions, 10_000_000},
	{"./cache", "FuzzShard", anything, executions, 10_000_000},
	{"./loader", "FuzzLoad", "TestLoadTakesAnything", "-directories", 500_000},
	{"./cache", "FuzzOpen", "TestOpenTakesAnything", "-directories", 100_000},
	{"./cache", "FuzzCommands", "TestACacheIsAMapThatForgets", "-programs", 300},
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
	{"./loader", "FuzzChoose", anything, executions, 10_000_000},
	{"./cache", "FuzzDecoders", anything, executions, 10_000_000},
	{"./cache", "FuzzHeader", anything, executions, 10_000_000},
	{"./cache", "FuzzPieces", anything, executions, 10_000_000},
	{"./cache", "FuzzNames", anything, executions, 10_000_000},
	{"./cache", "FuzzLimit", anything, executions, 10_000_000},
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
			seen := make(map[string]bool)
			chosen = slices.DeleteFunc(chosen, func(d decoder) bool {
				twice := seen[d.pkg+d.suite]
				seen[d.pkg+d.suite] = true
				return twice
			})
		}
		lines := &lineWriter{w: w}
		return inLanes(runtime.GOMAXPROCS(0), chosen, func(d decoder) error {
			return d.suiteOf(o).run(ctx, o, lines)
		})
	},
}

func (d *decoder) suiteOf(o *options) *suite {
	tests := "^" + d.suite + "$"
	if d.suite == anything {
		tests += "/^" + d.name + "$"
	}
	return &suite{d.pkg, tests, []string{d.flag, strconv.Itoa(o.count(1, d.full))}}
}
