package programs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Folder is where programs are kept, one folder a hash; it is made where it is not
// there. The scripts of lab/shell, which bring the agent itself, know the same places.
func Folder() (string, error) {
	places := []string{filepath.Join(os.TempDir(), fmt.Sprintf("connbench-%d", os.Geteuid()))}
	if base, err := os.UserCacheDir(); err == nil {
		places = append([]string{filepath.Join(base, "connbench")}, places...)
	}
	var refused []error
	for _, place := range places {
		folder := filepath.Join(place, "programs")
		err := private(place, folder)
		if err == nil {
			return folder, nil
		}
		refused = append(refused, err)
	}
	text := "no place for programs: "
	for i, err := range refused {
		if i > 0 {
			text += ", and "
		}
		text += err.Error()
	}
	return "", errors.New(text + " (XDG_CACHE_HOME names another)")
}

// private makes folders that are not there, one within the other, and checks that
// they are ours alone, and that they can be written to.
func private(folders ...string) error {
	within := filepath.Dir(folders[0])
	if err := os.MkdirAll(within, 0o700); err != nil {
		return err
	}
	// Where everybody may replace what is ours, as in /tmp without its sticky bit.
	if info, err := os.Stat(within); err != nil {
		return err
	} else if mode := info.Mode(); mode&0o002 != 0 && mode&os.ModeSticky == 0 {
		return fmt.Errorf("anybody can write to %s", within)
	}
	for _, folder := range folders {
		if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		info, err := os.Lstat(folder)
		switch {
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is no folder", folder)
		case int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid():
			return fmt.Errorf("%s belongs to somebody else", folder)
		case info.Mode().Perm()&0o022 != 0:
			return fmt.Errorf("others can write to %s", folder)
		}
		if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
			return fmt.Errorf("%s cannot be written to: %w", folder, err)
		}
	}
	return nil
}
