//go:build !linux

package main

import "time"

func sharpTimers() {}

func nap(d time.Duration) { time.Sleep(d) }
