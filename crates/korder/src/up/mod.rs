//! An embedded Kubernetes with korder on it: what `korder up` starts and keeps running.
//!
//! The control plane is a child process, and so are the programs that run in korder's Deployments elsewhere. Each
//! child ends when its standard input is closed, so none of them outlives this process, however it ends.

mod background;
mod host;
mod instance;
mod log_file;
mod mirror;
mod nodes;
mod probe;
mod program;
mod start;
mod user_kubeconfig;

pub(crate) use background::{leave_terminal, start_in_background};
pub(crate) use instance::{Instance, State};
pub(crate) use nodes::NodeArguments;
pub(crate) use start::{Running, Wish};
pub(crate) use user_kubeconfig::merge_kubeconfig;
