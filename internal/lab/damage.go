package main

import (
	"context"
	"io"
	"strconv"
)

var damageExperiment = experiment{
	name:  "damage",
	title: "damaged, torn, swapped, outdated and mixed files",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		tests := "^(TestDamage|TestMuchDamage|TestTwoCachesMixed|TestRecoveredTwiceIsTheSame|TestNewerFilesAreLeftAlone|TestGoldenDirectories|TestScrubSeesPastThePageCache)$"
		if o.Quick {
			tests = "^TestTwoCachesMixed$"
		}
		s := suite{"./cache", tests, []string{"-damaged", strconv.Itoa(o.count(1, 10_000))}}
		return s.run(ctx, o, w)
	},
}
