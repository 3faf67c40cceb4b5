//! What clients call.

use std::pin::Pin;
use std::sync::Arc;

use seagull_domain::{Branch, NotPassed, RunId, RunSpec};
use seagull_proto::convert::{
    DrainAsked, HistoryAsked, ListAsked, RankAsked, SearchAsked, TestAsked, TextAsked, WatchAsked, Word,
};
use seagull_proto::limits::CHUNK_BYTES;
use seagull_proto::v1::runs_server::Runs;
use seagull_proto::{PROTOCOL, agree, status, v1};
use seagull_results::Lineage;
use seagull_scheduler_core::Refusal;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{blocking, reading};
use crate::past;
use crate::plan;
use crate::requests;
use crate::service::Service;
use crate::test_history;
use crate::watch;

pub(crate) struct Face(pub Arc<Service>);

type Messages = Pin<Box<dyn Stream<Item = Result<v1::WatchMessage, Status>> + Send>>;

impl Face {
    /// Nothing depends on it, so that it may fail.
    async fn not_passed(&self, project: String, branch: Option<Branch>) -> Option<NotPassed> {
        let service = self.0.clone();
        let of = move || service.history.not_passed(Lineage { project: &project, branch: branch.as_ref() });
        blocking(of).await.ok().flatten()
    }
}

#[tonic::async_trait]
impl Runs for Face {
    type WatchStream = Messages;

    async fn info(&self, _: Request<v1::InfoRequest>) -> Result<Response<v1::InfoResponse>, Status> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let slots = self.0.actor.ask(|reply| requests::Request::Slots { reply }).await;
        let (protocol, unix_millis, reads_only) = (Some(PROTOCOL), past::now(), self.0.reads_only);
        Ok(Response::new(v1::InfoResponse { version, protocol, unix_millis, slots, reads_only }))
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        self.0.may_change()?;
        let message = request.into_inner();
        agree(message.protocol)?;
        let spec = Box::new(RunSpec::try_from(message)?);
        if let Some(ended) = self.0.ended_spec(&spec.id).await? {
            let difference = spec.difference(&ended);
            let differs = difference.map_or(Ok(()), |difference| Err(status::run_differs(difference)));
            return differs.map(|()| Response::new(v1::SubmitResponse { attached: true, not_passed: None }));
        }
        let (project, branch, whole) = (spec.project.clone(), spec.branch.clone(), spec.select.is_empty());
        if !whole {
            let live = past::overviews(&self.0).await?;
            // A run that is there already may have outlived those that it was selected by.
            if live.iter().all(|run| run.run != spec.id) {
                let selected = plan::selected_by(&spec).map_err(Status::invalid_argument)?;
                let of = self.0.clone();
                let stored = reading(move || of.stored(selected)).await?;
                plan::check(&self.0, &spec, &live, &stored).map_err(Status::invalid_argument)?;
            }
        }
        match self.0.change(|reply| requests::Request::Submit { spec, reply }).await? {
            Ok(attached) => {
                let not_passed =
                    if whole && !attached { self.not_passed(project, branch).await } else { None };
                Ok(Response::new(v1::SubmitResponse { attached, not_passed: not_passed.map(Into::into) }))
            }
            Err(Refusal::Differs(difference)) => Err(status::run_differs(difference)),
            Err(Refusal::TooManyRuns) => Err(Status::resource_exhausted("too many unfinished runs")),
        }
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Messages>, Status> {
        let asked = WatchAsked::try_from(request.into_inner())?;
        let stream = watch::stream(self.0.clone(), asked).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        self.0.may_change()?;
        let run = RunId::try_from(request.into_inner())?;
        // While there is no room for it on the disk, it waits.
        let heard = self.0.actor.ask(|reply| requests::Request::Cancel { run, reply }).await;
        heard.ok_or_else(|| Status::unavailable("the scheduler is shutting down"))?;
        Ok(Response::new(v1::CancelResponse {}))
    }

    async fn judge(&self, request: Request<v1::JudgeRequest>) -> Result<Response<v1::JudgeResponse>, Status> {
        self.0.may_change()?;
        let Word { run, errors: word } = request.into_inner().try_into()?;
        let heard = self.0.actor.ask(|reply| requests::Request::Judge { run, word, reply }).await;
        heard.ok_or_else(|| Status::unavailable("the scheduler is shutting down"))?;
        Ok(Response::new(v1::JudgeResponse {}))
    }

    async fn read_log(
        &self,
        request: Request<v1::ReadLogRequest>,
    ) -> Result<Response<v1::ReadLogResponse>, Status> {
        let TextAsked { run, mut text } = request.into_inner().try_into()?;
        // A message holds no more; the reader asks for the rest.
        text.length = text.length.min(CHUNK_BYTES as u32);
        let logs = self.0.logs(&run);
        let data = reading(move || logs.read(text)).await?;
        let data = data.ok_or_else(|| Status::not_found("no such log"))?;
        Ok(Response::new(v1::ReadLogResponse { data: data.into() }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let asked = ListAsked::try_from(request.into_inner())?;
        Ok(Response::new(past::listed(&self.0, asked).await?.into()))
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        let asked = HistoryAsked::try_from(request.into_inner())?;
        let history = test_history::history(self.0.clone(), asked).await?;
        Ok(Response::new(history.into()))
    }

    async fn rank(&self, request: Request<v1::RankRequest>) -> Result<Response<v1::RankResponse>, Status> {
        let asked = RankAsked::try_from(request.into_inner())?;
        Ok(Response::new(past::ranked(&self.0, asked).await?.into()))
    }

    async fn search(
        &self,
        request: Request<v1::SearchRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let asked = SearchAsked::try_from(request.into_inner())?;
        Ok(Response::new(past::searched(&self.0, asked).await?.into()))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        self.0.may_change()?;
        let DrainAsked { executors, limit_ms } = request.into_inner().try_into()?;
        let ask = |reply| requests::Request::Drain { executors, limit_ms, reply };
        Ok(Response::new(self.0.change(ask).await?.into()))
    }

    async fn find_test(
        &self,
        request: Request<v1::FindTestRequest>,
    ) -> Result<Response<v1::FindTestResponse>, Status> {
        let TestAsked { run, test } = request.into_inner().try_into()?;
        let found = self.0.actor.ask(|reply| requests::Request::Find { run, test, reply }).await;
        let found = found.ok_or_else(|| Status::unavailable("the scheduler is shutting down"))?;
        let found = found.ok_or_else(|| Status::not_found("it does not wait for a verdict here"))?;
        Ok(Response::new(found.into()))
    }

    async fn get_standing(
        &self,
        request: Request<v1::GetStandingRequest>,
    ) -> Result<Response<v1::Standing>, Status> {
        let run = RunId::try_from(request.into_inner())?;
        let standing = self.0.actor.ask(|reply| requests::Request::Standing { run, reply }).await;
        let standing = standing.ok_or_else(|| Status::unavailable("the scheduler is shutting down"))?;
        let mut standing = standing.ok_or_else(|| Status::not_found("the run is not under way here"))?;
        if self.0.disk.is_full() {
            // Nobody is heard of meanwhile, and nobody is taken for lost.
            standing.disk_is_full = true;
            standing.silent.clear();
        }
        Ok(Response::new(standing.into()))
    }
}
