//! Which level may stand below which, at what distance and at what price.

/// Levels that are told apart, by [`Level::index`](crate::anatomy::Level::index): C1 to T13, L1 to L6, S1 and S2.
pub const LEVELS: usize = 28;
/// Levels that may be missed between two of a chain.
const MISSED: usize = 2;

/// What a chain pays for beside the evidence; it depends on where that comes from.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    /// A body's evidence is never taken as surer than this: its source can err.
    pub floor: f64,
    /// A missed level.
    pub miss: f64,
    /// A spine with eleven thoracic vertebrae.
    pub eleven: f64,
    /// A spine with thirteen thoracic vertebrae.
    pub thirteen: f64,
    /// A spine with four lumbar vertebrae.
    pub four: f64,
    /// A spine with six lumbar vertebrae.
    pub six: f64,
    /// Weight of a distance's deviation from the usual one.
    pub geometry: f64,
    /// The same from the usual one of a person of this size, for a second chain: the first tells the size.
    pub geometry_of_size: Option<f64>,
    /// Factor of the evidence against a body that is left out, and what is added.
    pub leave_out: [f64; 2],
    /// A label whose runner-up is likelier than this may be off by one.
    pub ambiguous: f64,
    /// What is known of neighbouring bodies tells the same thing several times; probabilities are
    /// softened by as much.
    pub temperature: f64,
}

impl Prices {
    /// For windows of neighbouring candidates, fitted to the VID data set with the network. To leave
    /// out a body costs more than its evidence says: to name one too many does less harm.
    pub(crate) const WINDOWS: Prices = Prices {
        floor: -14.0,
        miss: -14.0,
        eleven: -5.0,
        thirteen: -7.0,
        four: -7.0,
        six: 3.0,
        geometry: 2.0,
        geometry_of_size: Some(4.0),
        leave_out: [2.8, -10.0],
        ambiguous: 0.25,
        temperature: 5.0,
    };

    /// For bodies cut out of an identified volume. A T12 that was found twice looks like a T13.
    pub(crate) const VOLUMES: Prices = Prices {
        floor: -3.0,
        miss: -5.0,
        eleven: -6.0,
        thirteen: -14.0,
        four: -8.0,
        six: -6.0,
        geometry: 0.5,
        geometry_of_size: None,
        leave_out: [1.0, -3.0],
        ambiguous: 0.25,
        temperature: 1.0,
    };
}

impl Prices {
    /// For bodies of a straightened spine, named by a network that has seen all of it.
    pub(crate) const STRAIGHT: Prices = Prices {
        floor: -8.0,
        miss: -4.0,
        eleven: -7.0,
        thirteen: -9.0,
        four: -9.0,
        six: -7.0,
        geometry: 0.4,
        geometry_of_size: None,
        leave_out: [1.0, -2.0],
        ambiguous: 0.25,
        temperature: 1.0,
    };
}

pub(super) const T11: usize = 17;
pub(super) const T12: usize = 18;
pub(super) const T13: usize = 19;
pub(super) const L1: usize = 20;
pub(super) const L4: usize = 23;
pub(super) const L5: usize = 24;
pub(super) const L6: usize = 25;
pub(super) const S1: usize = 26;
pub(super) const S2: usize = 27;
/// Mean distance in mm from each level to the next, centre to centre (1,947 CTs of the VID data set;
/// ImFusion with Bürgin et al., MICCAI 2023). Six of them have a T13.
pub(super) const TO_NEXT: [f64; LEVELS - 1] = [
    17.5, 22.9, 17.9, 17.1, 17.0, 18.0, 19.8, 20.8, 21.2, 21.1, 21.7, 22.2, 22.8, 23.6, 24.4, 25.8, 27.4,
    29.7, 32.3, 34.0, 34.5, 35.8, 36.5, 36.2, 36.3, 36.0, 29.7,
];

/// The level below one in a usual spine.
pub(super) fn below(level: usize) -> Option<usize> {
    match level {
        S2.. => None,
        T12 => Some(L1),
        L5 | L6 => Some(S1),
        _ => Some(level + 1),
    }
}

/// A way from one level of a chain to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub from: usize,
    pub to: usize,
    pub price: f64,
    /// Logarithm of the usual distance.
    pub distance: f64,
    /// Whether a spine that takes it has a vertebra more or less than usual.
    pub unusual: bool,
}

/// All ways a chain may go on.
pub(super) fn steps(prices: &Prices) -> Vec<Step> {
    let mut steps = Vec::new();
    for from in 0..LEVELS {
        let (mut to, mut length) = (from, 0.0);
        for missed in 0..=MISSED {
            let Some(next) = below(to) else { break };
            length += TO_NEXT[to];
            to = next;
            steps.push(Step {
                from,
                to,
                price: prices.miss * missed as f64,
                distance: length.ln(),
                unusual: false,
            });
        }
    }
    let unusual =
        [(T11, L1, prices.eleven), (T12, T13, prices.thirteen), (L4, S1, prices.four), (L5, L6, prices.six)];
    steps.extend(unusual.map(|(from, to, price)| Step {
        from,
        to,
        price,
        distance: TO_NEXT[from].ln(),
        unusual: true,
    }));
    steps
}
