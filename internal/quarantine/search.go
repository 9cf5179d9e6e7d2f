package quarantine

// search finds by bisection which of some suspects make proxies refuse a
// configuration. It asks for one trial after another and is told of each
// whether it was refused. Its words are those of the refusals.
//
// Suspects that are only refused in company are found too: of these the last
// one is guilty.
type search struct {
	suspects []string
	phase    phase
	words    string   // of the last refusal of all suspects, or of the base
	innocent []string // accepted, all of them together
	groups   []group  // to be judged; the last one first
	guilty   []conviction
}

type phase int

const (
	tryWhole phase = iota // whether all suspects together are refused
	tryBase               // whether that is so without any of them
	tryParts              // who of them it is
	harmless              // over: all together are accepted
	baseBad               // over: it is none of the suspects
	found                 // over: guilty has those that are
)

// group is a part of the suspects.
type group struct {
	ids []string
	// refusal is known where the group, together with the innocent, is refused.
	refusal string
	// ofBoth is the refusal of the group and its other half, which is below it:
	// if this one is accepted, it is the other half's.
	ofBoth string
}

// conviction is a suspect found guilty, and the refusal that it caused.
type conviction struct{ id, refusal string }

func newSearch(suspects []string) *search { return &search{suspects: suspects} }

// newSearchRefused is a search whose suspects are known to be refused together.
func newSearchRefused(suspects []string, refusal string) *search {
	return &search{suspects: suspects, phase: tryBase, words: refusal}
}

// trial returns the suspects to be tried together now.
func (s *search) trial() []string {
	switch s.phase {
	case tryWhole:
		return s.suspects
	case tryParts:
		next := s.groups[len(s.groups)-1].ids
		return append(append([]string(nil), s.innocent...), next...)
	default:
		return nil
	}
}

// tell takes the answer to the trial; an empty refusal: it was accepted.
func (s *search) tell(refusal string) {
	refused := refusal != ""
	if refused && s.phase != tryParts {
		s.words = refusal
	}
	switch {
	case s.phase == tryWhole && !refused:
		s.phase = harmless
	case s.phase == tryWhole && len(s.suspects) > 0:
		s.phase = tryBase
	case s.phase == tryWhole, s.phase == tryBase && refused:
		s.phase = baseBad
	case s.phase == tryBase:
		s.phase = tryParts
		s.groups = []group{{ids: s.suspects, refusal: s.words}}
		s.narrow()
	case s.phase == tryParts:
		s.judge(refusal)
		s.narrow()
	}
}

// judge takes the answer to a trial of the last group.
func (s *search) judge(refusal string) {
	last := len(s.groups) - 1
	g := s.groups[last]
	if refusal != "" {
		s.groups[last] = group{ids: g.ids, refusal: refusal}
		return
	}
	s.innocent = append(s.innocent, g.ids...)
	s.groups = s.groups[:last]
	if g.ofBoth != "" {
		s.groups[last-1].refusal = g.ofBoth
	}
}

// narrow halves groups that are refused until the last one must be tried.
func (s *search) narrow() {
	for len(s.groups) > 0 {
		last := len(s.groups) - 1
		g := s.groups[last]
		if g.refusal == "" {
			return
		}
		s.groups = s.groups[:last]
		if len(g.ids) == 1 {
			s.guilty = append(s.guilty, conviction{g.ids[0], g.refusal})
			continue
		}
		half := len(g.ids) / 2
		s.groups = append(s.groups, group{ids: g.ids[half:]}, group{ids: g.ids[:half], ofBoth: g.refusal})
	}
	s.phase = found
}
