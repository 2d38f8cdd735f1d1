//go:build !linux && !darwin

package pagefile

import "os"

// ownerOf knows nothing where files have no user's number.
func ownerOf(os.FileInfo) (uid int, known bool) { return 0, false }
