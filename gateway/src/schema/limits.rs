//! What an operation may ask for, checked before anything walks it.
//!
//! The library checks depth and complexity by following every path through the fragments, of which a
//! small document can have more than there are atoms: so selections are counted here first,
//! each fragment once.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest, NextRequest, NextValidation,
};
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Request, Response, ServerError, ServerResult, ValidationResult};

use super::error::{code_of, coded, with_code};
use crate::config::Limits;

/// Keeps operations within limits, and gives every error a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard(pub(crate) Limits);

impl ExtensionFactory for Guard {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(*self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Guard {
    async fn request(&self, context: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let mut response = next.run(context).await;
        for error in &mut response.errors {
            if code_of(error).is_none() {
                // What resolvers say has a code: this is about the operation or its arguments.
                let code = match error.path.is_empty() {
                    true => "OPERATION_RESOLUTION_FAILURE",
                    false => "BAD_USER_INPUT",
                };
                *error = with_code(error.clone(), code);
            }
        }
        response
    }

    async fn prepare_request(
        &self,
        context: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let parsed = request.parsed_query();
        let document = parsed.map_err(|error| with_code(error, "GRAPHQL_PARSE_FAILED"))?;
        check(&self.0, document)?;
        next.run(context, request).await
    }

    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let outcome = next.run(context).await;
        outcome.map_err(|errors| errors.into_iter().map(of_validation).collect())
    }
}

/// The library tells its limits by their message alone.
fn of_validation(error: ServerError) -> ServerError {
    let code = match error.message.as_str() {
        "Query is too complex." => "QUERY_TOO_COMPLEX",
        "Query is nested too deep." => "QUERY_TOO_DEEP",
        _ => "GRAPHQL_VALIDATION_FAILED",
    };
    with_code(error, code)
}

/// More selections than any operation within the other limits can have, and few enough to walk.
const SELECTIONS: usize = 5_000;

/// How deep fragments and fields may stand in each other: far above any limit of depth, far below
/// the end of the stack.
const NESTING: usize = 64;

/// What a selection adds up to, with all its fragments in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weight {
    /// Fields and fragments.
    selections: usize,
    aliases: usize,
    directives: usize,
}

impl Weight {
    /// It takes a step to walk, as a field does.
    fn of_fragment(directives: usize) -> Self {
        Self {
            selections: 1,
            aliases: 0,
            directives,
        }
    }

    fn add(&mut self, other: Self) {
        self.selections = self.selections.saturating_add(other.selections);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
    }
}

fn check(limits: &Limits, document: &ExecutableDocument) -> ServerResult<()> {
    let mut scale = Scale {
        document,
        known: HashMap::new(),
    };
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let mut weight = scale.weigh(&operation.selection_set.node, 0)?;
        weight.directives += operation.directives.len();
        at_most(
            weight.selections,
            SELECTIONS,
            "QUERY_TOO_LARGE",
            "selections",
        )?;
        at_most(
            weight.aliases,
            limits.gateway_aliases,
            "TOO_MANY_ALIASES",
            "aliases",
        )?;
        let directives = limits.gateway_directives;
        at_most(
            weight.directives,
            directives,
            "TOO_MANY_DIRECTIVES",
            "directives",
        )?;
        let roots = scale.roots(&operation.selection_set.node, 0)?;
        let limit = limits.gateway_root_fields;
        at_most(roots, limit, "TOO_MANY_ROOT_FIELDS", "fields at the root")?;
    }
    Ok(())
}

fn at_most(found: usize, limit: usize, code: &'static str, what: &str) -> ServerResult<()> {
    match found > limit {
        true => Err(coded(
            code,
            format!("the operation has more than {limit} {what}"),
        )),
        false => Ok(()),
    }
}

struct Scale<'a> {
    document: &'a ExecutableDocument,
    /// Of fragments; none while one is being weighed, so that a circle is seen.
    known: HashMap<&'a str, Option<Weight>>,
}

impl<'a> Scale<'a> {
    fn weigh(&mut self, set: &'a SelectionSet, nesting: usize) -> ServerResult<Weight> {
        require_flat(nesting)?;
        let mut weight = Weight::default();
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    weight.add(Weight {
                        selections: 1,
                        aliases: usize::from(field.alias.is_some()),
                        directives: field.directives.len(),
                    });
                    weight.add(self.weigh(&field.selection_set.node, nesting + 1)?);
                }
                Selection::InlineFragment(inline) => {
                    weight.add(Weight::of_fragment(inline.node.directives.len()));
                    weight.add(self.weigh(&inline.node.selection_set.node, nesting + 1)?);
                }
                Selection::FragmentSpread(spread) => {
                    weight.add(Weight::of_fragment(spread.node.directives.len()));
                    weight.add(self.fragment(&spread.node.fragment_name.node, nesting + 1)?);
                }
            }
        }
        Ok(weight)
    }

    fn fragment(&mut self, name: &'a str, nesting: usize) -> ServerResult<Weight> {
        match self.known.get(name) {
            Some(Some(weight)) => return Ok(*weight),
            Some(None) => return Err(circle()),
            None => {}
        }
        // A fragment that is not there is the validation's affair.
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Weight::default());
        };
        self.known.insert(name, None);
        let weight = self.weigh(&fragment.node.selection_set.node, nesting)?;
        self.known.insert(name, Some(weight));
        Ok(weight)
    }

    /// The fields at the root, those of fragments too. After weighing, so there is no circle, and the
    /// number of paths is bounded.
    fn roots(&self, set: &'a SelectionSet, nesting: usize) -> ServerResult<usize> {
        require_flat(nesting)?;
        let mut roots: usize = 0;
        for selection in &set.items {
            let more = match &selection.node {
                Selection::Field(_) => 1,
                Selection::InlineFragment(inline) => {
                    self.roots(&inline.node.selection_set.node, nesting + 1)?
                }
                Selection::FragmentSpread(spread) => {
                    let name: &str = &spread.node.fragment_name.node;
                    match self.document.fragments.get(name) {
                        Some(fragment) => {
                            self.roots(&fragment.node.selection_set.node, nesting + 1)?
                        }
                        None => 0,
                    }
                }
            };
            roots = roots.saturating_add(more);
        }
        Ok(roots)
    }
}

fn require_flat(nesting: usize) -> ServerResult<()> {
    match nesting > NESTING {
        true => Err(coded("QUERY_TOO_DEEP", "the operation is nested too deep")),
        false => Ok(()),
    }
}

fn circle() -> ServerError {
    coded("GRAPHQL_VALIDATION_FAILED", "a fragment contains itself")
}
