package main

import (
	"context"
	"io"
	"strconv"
)

var faultsExperiment = experiment{
	name:  "faults",
	title: "disks that fail, fill up, hang and slow down, at every moment",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		tests := "^(TestEveryFault|TestSlowDisk|TestFullDiskPausesWritingAndNothingElse|TestDiskFullAtFirstStart|TestReadOnlyDisk|TestDiskTurnsReadOnly|TestPermissionsTaken|TestDirectoryTakenAway|TestFilesStayInTheLockedDirectory|TestPageFileTruncatedUnderItsMapping)$"
		if o.Quick {
			tests = "^TestEveryFault$"
		}
		s := suite{"./cache", tests, []string{"-faults", strconv.Itoa(o.count(10, 5000))}}
		return s.run(ctx, o, w)
	},
}
