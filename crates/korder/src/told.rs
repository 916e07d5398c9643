//! What the API server answers, as people read it.

use anyhow::anyhow;
use cli::Hinted;

/// Turns the API server's errors into ones that say what was being done.
pub(crate) trait Told<T> {
    /// Says what was being done, in the words after `cannot`.
    fn told(self, doing: impl FnOnce() -> String) -> anyhow::Result<T>;
}

impl<T> Told<T> for Result<T, kube::Error> {
    fn told(self, doing: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.map_err(|error| {
            let context = format!("cannot {}", doing());
            match error {
                kube::Error::Api(status) if status.code == 403 => anyhow!(Hinted::new(
                    // The answer's own text would go on with all its fields.
                    anyhow!(status.message).context(context),
                    "your account may not (see `kubectl auth whoami`): ask a cluster administrator"
                )),
                kube::Error::Api(status) => anyhow!(status.message).context(context),
                kube::Error::Service(_) | kube::Error::HyperError(_) => anyhow!(Hinted::new(
                    anyhow!(error).context(context),
                    "see whether the cluster runs (`kubectl version`), or start one with `korder up`"
                )),
                error => anyhow!(error).context(context),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_is_told_by_its_message() {
        let status = Status { code: 409, message: "somebody was faster".into(), ..Status::default() };
        let error = Err::<(), _>(kube::Error::Api(status.boxed())).told(|| "delete `service/x`".into()).unwrap_err();
        assert_eq!(format!("{error:#}"), "cannot delete `service/x`: somebody was faster");
    }

    #[test]
    fn missing_rights_come_with_a_hint() {
        let status = Status { code: 403, message: "no".into(), ..Status::default() };
        let error = Err::<(), _>(kube::Error::Api(status.boxed())).told(|| "list nodes".into()).unwrap_err();
        assert!(cli::report(error.as_ref()).contains("cluster administrator"));
    }
}
