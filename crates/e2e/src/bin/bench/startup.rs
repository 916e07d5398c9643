//! How long `korder up` takes.

use crate::installation::Installation;
use crate::spread::Spread;

/// How often it is measured.
const RUNS: usize = 7;

/// Times of `korder up` until all is ready.
pub(crate) struct Startup {
    /// From an empty directory.
    pub(crate) empty: Spread,
    /// From the state of one that was stopped.
    pub(crate) resumed: Spread,
}

/// Measures both, in a directory of its own each time.
pub(crate) async fn measure() -> anyhow::Result<Startup> {
    let (mut empty, mut resumed) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let installation = Installation::new()?;
        empty.push(installation.up(&[]).await?);
        installation.down().await?;
        resumed.push(installation.up(&[]).await?);
    }
    Ok(Startup { empty: Spread::of(empty)?, resumed: Spread::of(resumed)? })
}
