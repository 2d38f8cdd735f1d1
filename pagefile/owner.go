package pagefile

import (
	"fmt"
	"io/fs"
	"os"
)

// trusted refuses what belongs to another user than this process's or root: checksums
// are no secret, so its owner may have chosen every byte of it. The error wraps
// fs.ErrPermission.
func trusted(path string, info os.FileInfo) error {
	owner, known := ownerOf(info)
	if self := os.Geteuid(); known && owner != self && owner != 0 {
		return fmt.Errorf("%s belongs to user %d, this process is user %d: change its owner, or choose another directory: %w",
			path, owner, self, fs.ErrPermission)
	}
	return nil
}
