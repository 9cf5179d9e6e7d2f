package swarmkit

import "sync"

// sizes are which lists were too large for one message: the next time they are asked
// for in parts at once. Else managers would put together all of it in vain, 100 MB
// of 100,000 tasks at every check. It is safe for concurrent use.
type sizes struct {
	mu       sync.Mutex
	tooLarge map[string]int // how many objects it had then, by what the list is of
}

func (s *sizes) splits(list string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tooLarge[list] > 0
}

// split takes note of how many objects a list had that was read in parts. One that
// has shrunk by half since it was too large is asked for whole again.
func (s *sizes) split(list string, objects int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before, known := s.tooLarge[list]; {
	case !known && objects > 0:
		if s.tooLarge == nil {
			s.tooLarge = make(map[string]int)
		}
		s.tooLarge[list] = objects
	case objects <= before/2:
		delete(s.tooLarge, list)
	}
}
