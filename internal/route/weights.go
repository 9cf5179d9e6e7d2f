package route

// MaxWeight is the greatest weight of an upstream.
const MaxWeight = 1000

// Weights says, for each of the upstreams that a way to forward names, how many
// requests one of its endpoints gets in proportion to the others'; 0: none.
//
// An upstream without a weight counts as many endpoints as it has, one with a
// weight as that many, spread alike over those that it has. What has no endpoint
// or the weight 0 is left out, and the others share what there is. The numbers
// have no divisor in common, and none is greater than most, which is 1 to 65536:
// where whole numbers up to it cannot say the proportion, each is rounded to the
// nearest, but not to 0.
func Weights(upstreams []*Upstream, most int) []int {
	shares := make([]fraction, len(upstreams))
	for i, u := range upstreams {
		shares[i] = shareOf(u)
	}
	weights, exact := whole(shares)
	if exact && greatest(weights) <= uint64(most) {
		return integers(weights)
	}
	return integers(reduce(rounded(shares, uint64(most))))
}

// fraction is how many endpoints one endpoint counts as.
type fraction struct{ over, under uint64 }

func shareOf(u *Upstream) fraction {
	switch {
	case len(u.Endpoints) == 0:
		return fraction{0, 1}
	case u.Weight == nil:
		return fraction{1, 1}
	}
	return fraction{uint64(*u.Weight), uint64(len(u.Endpoints))}
}

// whole brings shares to the least whole numbers, unless those on the way to
// them are too great for any purpose.
func whole(shares []fraction) (weights []uint64, ok bool) {
	const most = 1 << 32
	common := uint64(1)
	for _, s := range shares {
		if common *= s.under / divisor(common, s.under); common > most {
			return nil, false
		}
	}
	for _, s := range shares {
		weights = append(weights, s.over*(common/s.under))
	}
	return reduce(weights), true
}

// rounded gives the greatest share the number most.
func rounded(shares []fraction, most uint64) []uint64 {
	top := fraction{0, 1}
	for _, s := range shares {
		if s.over*top.under > top.over*s.under {
			top = s
		}
	}
	var weights []uint64
	for _, s := range shares {
		if s.over == 0 {
			weights = append(weights, 0)
			continue
		}
		over, under := most*s.over*top.under, s.under*top.over
		weights = append(weights, max(1, (over+under/2)/under))
	}
	return weights
}

// reduce divides by what all have in common.
func reduce(weights []uint64) []uint64 {
	common := uint64(0)
	for _, w := range weights {
		common = divisor(common, w)
	}
	for i := range weights {
		weights[i] /= max(common, 1)
	}
	return weights
}

// divisor is the greatest common divisor; that of 0 and a number is the number.
func divisor(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func greatest(weights []uint64) (most uint64) {
	for _, w := range weights {
		most = max(most, w)
	}
	return most
}

func integers(weights []uint64) []int {
	list := make([]int, len(weights))
	for i, w := range weights {
		list[i] = int(w)
	}
	return list
}
