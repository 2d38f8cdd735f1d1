package main

var endureExperiment = experiment{
	name:  "endure",
	title: "full load with restarts, kills and faults; -count seconds",
	run:   endure,
}
