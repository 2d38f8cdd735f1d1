//go:build !linux

package main

import "errors"

// What a process is charged with is known on Linux only.

var errNotLinux = errors.New("this row needs Linux")

func anonymous() (int64, error)    { return 0, errNotLinux }
func diskWrites() (int64, error)   { return 0, errNotLinux }
func onDisk(string) (int64, error) { return 0, errNotLinux }
func cached(string) (int64, error) { return 0, errNotLinux }
func dropCached(string) error      { return errNotLinux }
func warmCached(string) error      { return nil }
