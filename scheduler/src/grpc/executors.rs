//! What executors call.

use std::sync::Arc;

use seagull_domain::{BootId, ExecutorId, Report, RunId};
use seagull_proto::convert::{Answer, BundleAsked, LogChunk, OutputTold, RunDescription};
use seagull_proto::v1::executors_server::Executors;
use seagull_proto::{agree, status, v1};
use seagull_scheduler_core::Event;
use tonic::{Request, Response, Status};

use super::blocking;
use crate::requests;
use crate::service::Service;

pub(crate) struct Face(pub Arc<Service>);

/// Tells the core when a call ends without an answer: the executor's connection closed, or it gave the call up to
/// report anew (then the next report comes at once and lengthens the lease again).
struct Gone {
    service: Arc<Service>,
    executor: Option<(ExecutorId, BootId, u64)>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some((executor, boot, sequence)) = self.executor.take() {
            let event = Event::Disconnected { executor, boot, sequence };
            // If the actor is that busy, the lease as it is will do.
            let _ = self.service.actor.requests.try_send(requests::Request::Event(event));
        }
    }
}

impl Face {
    /// Without room no result that names its text can be acknowledged, as without room for the journal.
    async fn not_kept(&self, error: seagull_results::Error) -> Status {
        if error.is_full() {
            let _ = self.0.actor.requests.send(requests::Request::Broken(error.to_string())).await;
        }
        Status::internal(error.to_string())
    }
}

#[tonic::async_trait]
impl Executors for Face {
    async fn synchronize(
        &self,
        request: Request<v1::ReportMessage>,
    ) -> Result<Response<v1::DesiredMessage>, Status> {
        self.0.may_change()?;
        let message = request.into_inner();
        agree(message.protocol)?;
        let report = Box::new(Report::try_from(message)?);
        // Nothing is dropped: what is not acknowledged is reported again, and slower.
        if !report.batches.is_empty() {
            self.0.room.wait(self.0.hold).await;
        }
        let executor = Some((report.executor.clone(), report.boot.clone(), report.sequence));
        let mut gone = Gone { service: self.0.clone(), executor };
        let answer = self.0.actor.ask(|reply| requests::Request::Report { report, reply }).await;
        gone.executor = None;
        let desired = answer.ok_or_else(status::superseded)?;
        let desired = desired.map_err(|requests::Displaced| status::displaced())?;
        let followed = self.0.outputs.followed(&desired.runs);
        Ok(Response::new(Answer { desired, followed }.into()))
    }

    async fn get_run(
        &self,
        request: Request<v1::GetRunRequest>,
    ) -> Result<Response<v1::RunDescription>, Status> {
        let run = RunId::try_from(request.into_inner())?;
        let found = self.0.actor.ask(|reply| requests::Request::Run { run, reply }).await.flatten();
        let spec = found.ok_or_else(|| Status::not_found("no such run"))?;
        Ok(Response::new(RunDescription { spec }.into()))
    }

    async fn get_bundle(
        &self,
        request: Request<v1::GetBundleRequest>,
    ) -> Result<Response<v1::BundleContents>, Status> {
        let BundleAsked { run, attempt, generation } = request.into_inner().try_into()?;
        let ask = |reply| requests::Request::Bundle { run, attempt, generation, reply };
        let contents = self.0.actor.ask(ask).await.flatten();
        let contents = contents.ok_or_else(|| Status::not_found("no such attempt in that generation"))?;
        Ok(Response::new(contents.into()))
    }

    async fn put_log(
        &self,
        request: Request<v1::PutLogRequest>,
    ) -> Result<Response<v1::PutLogResponse>, Status> {
        self.0.may_change()?;
        let LogChunk { run, attempt, offset, data } = request.into_inner().try_into()?;
        if !self.0.knows(&run).await? {
            return Err(Status::not_found("no such run"));
        }
        if self.0.remote.is_some() && self.0.archive.contains(&run) {
            return Err(Status::not_found("the run has ended, and its logs are on their way to the store"));
        }
        let (logs, disk) = (self.0.logs(&run), self.0.disk.clone());
        let write =
            move || disk.keep(seagull_results::Error::is_full, || logs.write_at(attempt, offset, &data));
        let written = blocking(move || Ok::<_, String>(write())).await?;
        let durable = match written {
            Ok(durable) => durable,
            Err(error) => return Err(self.not_kept(error).await),
        };
        Ok(Response::new(v1::PutLogResponse { durable }))
    }

    async fn tell_output(
        &self,
        request: Request<v1::OutputTold>,
    ) -> Result<Response<v1::OutputHeard>, Status> {
        self.0.may_change()?;
        let OutputTold { run, printed } = request.into_inner().try_into()?;
        let asked = run.clone();
        let live = self.0.actor.ask(|reply| requests::Request::Run { run: asked, reply }).await.flatten();
        live.ok_or_else(|| Status::not_found("no such run"))?;
        let outputs = self.0.outputs.clone();
        blocking(move || outputs.take(&run, printed)).await?;
        Ok(Response::new(v1::OutputHeard {}))
    }
}
