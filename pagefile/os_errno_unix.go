//go:build linux || darwin

package pagefile

import (
	"errors"

	"golang.org/x/sys/unix"
)

// isQuota reports an exceeded quota, isSpace that or a full device.
func isQuota(err error) bool { return errors.Is(err, unix.EDQUOT) }
func isSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || isQuota(err) }
