package main

var bigExperiment = experiment{
	name:  "big",
	title: "over 4 GiB in one cache, over 2^31 bytes in one file; -count MiB",
	run:   big,
}

var groupExperiment = experiment{
	name:  "group",
	title: "a control group with less memory than the files, then less than the cache",
	run:   group,
}

var countsExperiment = experiment{
	name:  "counts",
	title: "1 and 256 shards; 1,000 generations, one file system; -count generations",
	run:   counts,
}
