package power

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// diskSize is the least that xfs takes, nearly. A directory that changes its shape twice
// in a row has three page files.
const diskSize = 320 << 20

// A kind is a file system and how it is mounted.
type kind struct {
	name    string
	fs      string
	options string
	make    []string // command and its options
}

// kinds are all that are tried. Images of one kind have one identity, which xfs must
// not mind.
var kinds = []*kind{
	{"ext4", "ext4", "", []string{"mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "nodiscard"}},
	{"ext4 data=writeback", "ext4", "data=writeback,commit=1", []string{"mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "nodiscard"}},
	{"xfs", "xfs", "nouuid", []string{"mkfs.xfs", "-q", "-f", "-K"}},
}

// format makes an empty file system in a file under dir.
func (k *kind) format(dir string) (*image, error) {
	path := filepath.Join(dir, "format")
	defer os.Remove(path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(path, diskSize); err != nil {
		return nil, err
	}
	if out, err := exec.Command(k.make[0], append(k.make[1:], path)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", k.make[0], err, out)
	}
	return readImage(path)
}
