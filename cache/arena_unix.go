//go:build unix && !linux && !race && !emberheap

package cache

const mapNoReserve = 0

func adviseHuge([]byte) {}

func populate([]byte) {}
