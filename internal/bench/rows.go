package main

// rows is the table of all rows, in the order of the report.
func rows(o *options) []row {
	return []row{
		getRow(),
		getSetsRow(),
		getManyRow(),
		setRow(),
		mixRow("mix95", "95/5", 20),
		mixRow("mix75", "75/25", 4),
		onOffRow(),
		latencyRow(),
		maximaRow(),
		restartRow(o),
		writtenRow(o),
		memoryRow(o),
		collectorRow(o),
		ratioRow(o),
		tuningRow(),
	}
}
