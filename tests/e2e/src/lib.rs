//! isthmus-e2e
